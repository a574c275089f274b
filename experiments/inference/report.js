const form = document.querySelector('form'), cards = [...document.querySelectorAll('figure')];
function filter() {
  const wanted = name => form.elements[name].value;
  let shown = 0;
  for (const card of cards) {
    const said = card.dataset, score = Number(said.score);
    const fits = (!wanted('answer') || said.answer === wanted('answer'))
      && (!wanted('type') || said.types.split(' ').includes(wanted('type')))
      && score >= Number(wanted('low') || 0) && score <= Number(wanted('high') || 1)
      && (!form.elements.review.checked || said.review === '1')
      && said.image.toLowerCase().includes(wanted('text').toLowerCase());
    card.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  document.querySelector('output').textContent = `${shown} of ${cards.length} images`;
  document.querySelector('main').classList.toggle('plain', !form.elements.outlines.checked);
}
form.addEventListener('input', filter);
form.addEventListener('submit', event => event.preventDefault());
filter();
