// Quantiles as order statistics: the smallest value that at least a share of the values do not exceed. They are the same
// on a linear and on a logarithmic axis, since no values are averaged.

/**
 * Quantiles of the first `count` values, which are put into another order.
 * @param {Float32Array} values without NaN @param {number} count at least 1
 * @param {readonly number[]} shares ascending, above 0
 * @returns {number[]}
 */
export function quantiles(values, count, shares) {
  let left = 0;
  return shares.map((share) => {
    // Products such as 0.07 * 100 exceed the whole number that they stand for.
    const place = Math.max(0, Math.ceil(share * count - 1e-9) - 1);
    select(values, place, left, count - 1);
    left = place;
    return values[place];
  });
}

/**
 * Put the value that belongs to a place of the sorted values there, smaller ones before it (Hoare 1961, FIND).
 * @param {Float32Array} values @param {number} place @param {number} left @param {number} right
 */
function select(values, place, left, right) {
  while (left < right) {
    const pivot = values[place];
    let [i, j] = [left, right];
    do {
      while (values[i] < pivot) i += 1;
      while (pivot < values[j]) j -= 1;
      if (i <= j) {
        const kept = values[i];
        values[i] = values[j];
        values[j] = kept;
        i += 1;
        j -= 1;
      }
    } while (i <= j);
    if (j < place) left = i;
    if (place < i) right = j;
  }
}
