// The clock of a launch, and what belongs to timing: sleep, garbage collection, CPU time.
// Import this before all else: the clock counts from the start of the process.

import v8 from "node:v8";
import vm from "node:vm";

const START = process.hrtime.bigint();
export const STARTED = `${new Date().toISOString().slice(0, 19)}Z`; // rounded down to seconds

// The start is subtracted as BigInt; what is left is exact as a Number for 104 days (2^53 ns), and a launch never
// lives that long. So times in lines are Numbers, which JSON.stringify writes as integers (it refuses BigInt).
export const now = () => Number(process.hrtime.bigint() - START);

/** One inference: the sample is all that lies between the two readings; the subtraction comes after both. */
export function timed(run) {
  const before = process.hrtime.bigint();
  run();
  const after = process.hrtime.bigint();
  return { began: Number(before - START), sample: Number(after - before) };
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** Sleep, never less than asked: a timer may fire early, so the clock decides. */
export function sleepUntil(due) {
  for (let left = due - now(); left > 0; left = due - now()) Atomics.wait(sleeper, 0, 0, left / 1e6);
}

/** Wait for a moment and meet it: a sleep ends late, so the last millisecond is spent reading the clock. */
export function waitUntil(due) {
  sleepUntil(due - 1_000_000);
  while (now() < due);
}

v8.setFlagsFromString("--expose-gc");
export const collectGarbage = vm.runInNewContext("gc");
export const cpuNs = () => {
  const { user, system } = process.cpuUsage(); // microseconds
  return (user + system) * 1000;
};
