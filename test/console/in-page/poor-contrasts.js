// Runs in the page. Texts that stand out from their ground by less than WCAG AA asks for: 4.5 to 1.
(() => {
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((value) => {
      const part = value / 255;
      return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const parse = (colour) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const groundOf = (element) => {
    if (element === null) return [255, 255, 255];
    const ground = parse(getComputedStyle(element).backgroundColor);
    return ground.length === 4 && ground[3] === 0 ? groundOf(element.parentElement) : ground;
  };
  const texts = [...document.querySelectorAll('body *')].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim() !== ''),
  );
  const poor = texts.filter((element) => {
    const text = luminance(parse(getComputedStyle(element).color).slice(0, 3));
    const ground = luminance(groundOf(element).slice(0, 3));
    return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05) < 4.5;
  });
  return { looked: texts.length, poor: poor.map((element) => `${element.className}: ${element.textContent}`) };
})();
