(() => {
  'use strict';
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const data = JSON.parse(document.getElementById('data').textContent);

  for (const button of all('[data-toggle]')) {
    button.addEventListener('click', () => {
      const on = button.getAttribute('aria-pressed') !== 'true';
      button.setAttribute('aria-pressed', String(on));
      for (const drawn of all('.panels [data-method]')) {
        if (drawn.dataset.method === button.dataset.toggle) drawn.classList.toggle('off', !on);
      }
    });
  }

  const table = document.getElementById('cases');
  if (!table) return;
  const cases = all('tbody.case', table);
  const form = document.querySelector('form.filters');

  const key = (body, column, kind) => {
    const cell = body.rows[0].cells[column];
    const text = cell.dataset.value || cell.firstChild && cell.firstChild.textContent || '';
    return kind === 'text' ? text : parseFloat(text);
  };
  const compare = (a, b, up) => {
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return (typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a - b) * (up ? 1 : -1);
  };
  const heads = all('thead th', table);
  const sort = (column, up) => {
    const kind = column < 0 ? '' : heads[column].dataset.sort;
    const order = column < 0 ? cases : [...cases].sort((a, b) => compare(key(a, column, kind), key(b, column, kind), up));
    for (const body of order) table.append(body);
    heads.forEach((head, i) => i === column
      ? head.setAttribute('aria-sort', up ? 'ascending' : 'descending') : head.removeAttribute('aria-sort'));
  };
  heads.forEach((head, i) => {
    const button = make('button', head.textContent);
    button.type = 'button';
    head.replaceChildren(button);
    button.addEventListener('click', () => sort(i, head.getAttribute('aria-sort') !== 'ascending'));
    for (const way of ['↑', '↓']) {
      const option = make('option', `${button.textContent} ${way}`);
      option.value = `${i} ${way}`;
      form.elements.sort.append(option);
    }
  });

  const names = ['component', 'method', 'layers', 'verdict'];
  for (const name of names) {
    for (const value of [...new Set(cases.map((body) => body.dataset[name]))].sort()) {
      if (value) form.elements[name].append(make('option', value));
    }
  }
  const filter = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/);
    let shown = 0;
    for (const body of cases) {
      const text = `${body.dataset.case} ${body.dataset.verdict}`.toLowerCase();
      const fits = words.every((word) => text.includes(word))
        && names.every((name) => !form.elements[name].value || form.elements[name].value === body.dataset[name]);
      body.hidden = !fits;
      shown += fits;
    }
    table.classList.toggle('no-pictures', !form.elements.pictures.checked);
    form.querySelector('output').textContent = `${shown} of ${cases.length}`;
  };
  form.addEventListener('input', (event) => {
    if (event.target.name !== 'sort') return filter();
    const [column, way] = event.target.value.split(' ');
    return sort(way ? Number(column) : -1, way === '↑');
  });
  form.addEventListener('submit', (event) => event.preventDefault());
  form.hidden = false;
  filter();

  const withLost = cases.filter((body) => body.querySelector('details'));
  const pick = document.querySelector('.pick');
  const choose = (body) => {
    const copy = body.querySelector('table.lost').cloneNode(true);
    document.querySelector('.chosen').replaceChildren(copy);
  };
  if (withLost.length) {
    const select = pick.querySelector('select');
    for (const body of withLost) select.append(make('option', body.dataset.case));
    select.addEventListener('change', () => choose(withLost[select.selectedIndex]));
    const red = withLost.findIndex((body) => body.querySelector('.verdict.red'));
    select.selectedIndex = Math.max(0, red);
    choose(withLost[Math.max(0, red)]);
    pick.hidden = false;
  } else {
    document.getElementById('worst').hidden = true;
  }

  const dialog = document.querySelector('dialog');
  let place = null;
  const show = (body, index) => {
    const texts = data.captions[body.dataset.target] || [];
    place = { body, index: (index + texts.length) % texts.length };
    dialog.querySelector('.caption').textContent = `${place.index + 1}. ${texts[place.index]}`;
    const three = dialog.querySelector('.three');
    three.replaceChildren();
    const dense = body.classList.contains('dense');
    const shown = [['dense', dense ? '' : body.dataset.dense], [data.behind, body.dataset.behind],
      [body.dataset.case, body.dataset.own]];
    for (const [label, sheet] of shown) {
      if (!sheet) continue;
      const figure = make('figure');
      const picture = make('i', undefined, `p ${sheet}`);
      picture.style.setProperty('--i', place.index);
      figure.append(picture, make('figcaption', label));
      three.append(figure);
    }
    const scores = data.scores[body.dataset.case];
    const lines = make('table');
    const head = lines.insertRow();
    head.append(make('th', '', 'l'));
    const kept = scores.map((one, i) => Object.keys(one).length && !(dense && i === 0) ? i : -1).filter((i) => i >= 0);
    for (const i of kept) head.append(make('th', [ 'dense', data.behind, dense ? 'dense' : 'this case' ][i]));
    for (const label of Object.keys(scores[2])) {
      const line = lines.insertRow();
      line.append(make('td', label, 'l'));
      for (const i of kept) {
        const value = (scores[i][label] || [])[place.index];
        line.append(make('td', value === undefined ? '' : value.toFixed(2)));
      }
    }
    dialog.querySelector('.scores').replaceChildren(lines);
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => show(place.body, place.index + by);
  const caseStep = (by) => {
    const bodies = all('tbody', table).filter((body) => !body.hidden && body.dataset.own);
    show(bodies[(bodies.indexOf(place.body) + by + bodies.length) % bodies.length], place.index);
  };
  table.addEventListener('click', (event) => {
    const button = event.target.closest('button.p');
    if (button) show(button.closest('tbody'), Number(button.dataset.index));
  });
  for (const button of all('[data-step]', dialog)) button.addEventListener('click', () => step(Number(button.dataset.step)));
  for (const button of all('[data-case-step]', dialog)) {
    button.addEventListener('click', () => caseStep(Number(button.dataset.caseStep)));
  }
  dialog.addEventListener('keydown', (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') step(by); else caseStep(by);
  });
  dialog.addEventListener('click', (event) => { if (event.target === dialog) dialog.close(); });
})();
