"""From a target to pictures, and from pictures to measurements."""
