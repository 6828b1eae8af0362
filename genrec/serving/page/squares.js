// Areas in proportion to numbers: squarified treemaps (Bruls, Huizing and van Wijk 2000).

/**
 * Rectangles `{x, y, width, height}` that fill one of the given size, one for each number, in their order.
 * Numbers are positive and descend.
 */
export function squares(numbers, width, height) {
  const scale = (width * height) / numbers.reduce((sum, number) => sum + number, 0);
  const areas = numbers.map((number) => number * scale);
  const placed = [];
  let free = { x: 0, y: 0, width, height };
  for (let start = 0; start < areas.length;) {
    const side = Math.min(free.width, free.height);
    let end = start + 1;
    while (end < areas.length && longest(areas.slice(start, end + 1), side) <= longest(areas.slice(start, end), side)) end += 1;
    free = place(areas.slice(start, end), free, placed);
    start = end;
  }
  return placed;
}

/** The worst ratio of sides in a strip of areas along a side. */
function longest(areas, side) {
  const thick = total(areas) / side;
  return Math.max(...areas.map((area) => Math.max(area / thick / thick, (thick * thick) / area)));
}

/** Lay a strip along the shorter side, and return what is left free. */
function place(areas, { x, y, width, height }, placed) {
  const upright = height <= width;
  const thick = total(areas) / (upright ? height : width);
  let at = 0;
  for (const area of areas) {
    const long = area / thick;
    placed.push(upright ? { x, y: y + at, width: thick, height: long } : { x: x + at, y, width: long, height: thick });
    at += long;
  }
  return upright ? { x: x + thick, y, width: width - thick, height } : { x, y: y + thick, width, height: height - thick };
}

const total = (areas) => areas.reduce((sum, area) => sum + area, 0);
