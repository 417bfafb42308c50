// Runs in the page. How different the colours of states and lines are for who has no green cones: the least distance in CIELAB
// of each set. 25 is plain to see side by side.
(() => {
  // Machado, Oliveira and Fernandes (2009), deuteranopia, of linear RGB.
  const DEUTERANOPIA = [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ];
  const XYZ = [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
  ];
  const times = (matrix, vector) => matrix.map((row) => row.reduce((sum, part, at) => sum + part * vector[at], 0));
  const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
  const root = (value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116);
  const lab = (hex) => {
    const rgb = [1, 3, 5].map((at) => linear(parseInt(hex.slice(at, at + 2), 16) / 255));
    const seen = times(DEUTERANOPIA, rgb).map((value) => Math.min(Math.max(value, 0), 1));
    const xyz = times(XYZ, seen);
    const [x, y, z] = xyz.map((value, at) => root(value / [0.9505, 1, 1.089][at]));
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
  };
  const style = getComputedStyle(document.documentElement);
  const sets = [
    ['--line-succeeded', '--line-failed', '--line-rejected'],
    ['--closed-ground', '--open-ground', '--half-open-ground'],
  ];
  return sets.map((names) => {
    const colours = names.map((name) => lab(style.getPropertyValue(name).trim()));
    const distances = colours.flatMap((one, at) =>
      colours.slice(at + 1).map((other) => Math.hypot(...one.map((part, axis) => part - other[axis]))),
    );
    return Math.round(Math.min(...distances));
  });
})();
