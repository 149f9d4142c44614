// The arithmetic of docs/harness-protocol.md: integers only, and products as BigInt, for they pass 2^53. Limits of
// the plan beyond 2^53 (such as `max_ns`) were rounded by JSON.parse: no launch lives to see that difference.

const smaller = (a, b) => (a < b ? a : b);
const floorDivide = (a, b) => Number(BigInt(a) / BigInt(b));

/** `|a - b| * 1000` against `permille * min(a, b)`: below zero, zero or above it. */
const compareDrift = (a, b, permille) => BigInt(Math.abs(a - b)) * 1000n - BigInt(permille) * BigInt(smaller(a, b));

export function median(samples) {
  const sorted = Float64Array.from(samples).sort(); // a typed array sorts by number, a plain one by text
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : floorDivide(sorted[middle - 1] + sorted[middle], 2);
}

export function windowsAgree(samples, window, tolerancePermille) {
  const w = smaller(window, samples.length >> 1);
  if (w === 0) return false;
  const last = median(samples.slice(-w));
  return compareDrift(last, median(samples.slice(-2 * w, -w)), tolerancePermille) <= 0n;
}

export function warmState(samples, elapsedNs, rules) {
  const enough = samples.length >= rules.min_iterations || elapsedNs >= rules.min_ns;
  if (enough && windowsAgree(samples, rules.window, rules.tolerance_permille)) return "steady";
  return samples.length >= rules.max_iterations || elapsedNs >= rules.max_ns ? "capped" : "cold";
}

export const warmLatencyNs = (samples, window) => median(samples.slice(-window));
export const drifted = (beforeNs, afterNs, permille) => compareDrift(beforeNs, afterNs, permille) > 0n;

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

export function answerStride(elements, most) {
  let stride = Math.max(1, floorDivide(elements + most - 1, most));
  while (stride > 1 && divisor(elements, stride) > 1) stride += 1;
  return stride;
}

export function burstIterations(latencyNs, targetNs, minIterations, maxIterations) {
  return Math.min(Math.max(floorDivide(targetNs, Math.max(latencyNs, 1)), minIterations), maxIterations);
}

/** xorshift64 (13, 7, 17) in two 32-bit halves: BigInt would allocate in every step of what is timed. */
export function control(iterations) {
  let hi = 0x9e3779b9 | 0;
  let lo = 0x7f4a7c15 | 0;
  for (let i = 0; i < iterations; i += 1) {
    hi ^= (hi << 13) | (lo >>> 19);
    lo ^= lo << 13;
    lo ^= (lo >>> 7) | (hi << 25);
    hi ^= hi >>> 7;
    hi ^= (hi << 17) | (lo >>> 15);
    lo ^= lo << 17;
  }
  return [hi, lo].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}
