// What a launch is given: its arguments, the plan, the probes' files.

import fs from "node:fs";
import path from "node:path";
import { answerStride } from "./arithmetic.mjs";

const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/;
const ELEMENT_BYTES = {
  float16: 2, float32: 4, float64: 8, bool: 1, int8: 1, uint8: 1,
  int16: 2, uint16: 2, int32: 4, uint32: 4, int64: 8, uint64: 8,
};
const DEFAULTS = {
  round: { load: "cached", blocks: [], phases: ["burst"] },
  cell: { probes: [], cores: null },
  warmup: {
    window: 10, tolerance_permille: 20, min_iterations: 20, min_ns: 1_000_000_000,
    max_iterations: 5000, max_ns: 10_000_000_000,
  },
  burst: { mode: "bursts", target_ns: 250_000_000, min_iterations: 5, max_iterations: 500, pause_ns: 20_000_000 },
  paced: { interval_ns: 33_333_333, count: 300 },
  sustained: { duration_ns: 60_000_000_000, min_count: 1 },
  gate: { control_ns: 2_000_000, control_iterations: null, control_drift_permille: 50, retries: 1 },
};

/** Arguments or a plan that cannot be used: exit status 2, and no file. */
export class Refused extends Error {}

/** One cell cannot be measured; the others go on. */
export class CellFailed extends Error {
  constructor(code, detail) {
    super(detail);
    this.code = code;
  }
}

export function readArguments(words) {
  const given = new Map();
  for (let i = 0; i < words.length; i += 2) {
    const [option, value] = [words[i], words[i + 1]];
    const known = ["--plan", "--round", "--launch", "--output"].includes(option);
    if (!known || given.has(option) || value === undefined) throw new Refused(`cannot use argument ${option}`);
    given.set(option, value);
  }
  if (given.size < 4) throw new Refused("--plan, --round, --launch and --output are all needed");
  const [plan, round, launch, output] = ["--plan", "--round", "--launch", "--output"].map((option) => given.get(option));
  if (!/^[0-9]{1,3}$/.test(round)) throw new Refused("--round is no number from 0 to 999");
  if (!ID.test(launch)) throw new Refused("--launch is no id");
  return { plan, number: Number(round), launch, output };
}

/** The plan with its defaults; null stays null, and keys that nobody knows are never looked at. */
export function readPlan(file, number) {
  let plan;
  try {
    plan = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(fs.readFileSync(file)));
  } catch (error) {
    throw new Refused(`cannot read the plan ${file}: ${error.message}`);
  }
  if (plan === null || typeof plan !== "object") throw new Refused("the plan is no JSON object");
  const { protocol = 2, paced = null, sustained = null, answer_elements = 65536 } = plan;
  if (protocol !== 2) throw new Refused(`the plan's protocol is ${JSON.stringify(protocol)}, this harness knows 2`);
  const round = { ...DEFAULTS.round, ...plan.rounds?.[number] };
  if (round.number !== number) throw new Refused(`the plan has no round ${number}`);
  if (!ID.test(plan.session) || !Array.isArray(round.cells) || !round.cells.every((index) => plan.cells?.[index])) {
    throw new Refused("the plan names no session, or cells that it does not have");
  }
  if (round.phases.includes("paced") && !paced) throw new Refused("the plan does not say how to pace");
  if (round.phases.includes("sustained") && !sustained) throw new Refused("the plan does not say how to sustain");
  const rules = { session: plan.session, answer_elements, round, folder: path.dirname(file) };
  for (const name of ["warmup", "burst", "paced", "sustained", "gate"]) {
    rules[name] = { ...DEFAULTS[name], ...plan[name] };
  }
  rules.cells = new Map(round.cells.map((index) => [index, { ...DEFAULTS.cell, ...plan.cells[index], index }]));
  return rules;
}

/** A probe with the bytes of its inputs' files, which have to be as many as shape and element type say. */
export function readProbe(folder, probe) {
  const tensors = probe.inputs.map(({ name, dtype, shape, path: file }) => {
    if (!Object.hasOwn(ELEMENT_BYTES, dtype)) throw new CellFailed("bad-probe", `there is no element type ${dtype} here`);
    const size = ELEMENT_BYTES[dtype];
    const elements = shape.reduce((product, length) => product * length, 1);
    const where = path.join(folder, file);
    try {
      const status = fs.statSync(where); // before a byte is read: it may be a pipe, or far too large
      if (!status.isFile() || status.size !== elements * size) throw new Error(`no file of ${elements * size} bytes`);
      return { name, dtype, shape, size, elements, data: fs.readFileSync(where) };
    } catch (error) {
      throw new CellFailed("bad-probe", `probe ${probe.name}, input ${name}, ${file}: ${error.message}`);
    }
  });
  return { name: probe.name, judged: probe.judged ?? true, tensors };
}

/** An answer to a probe: of a noop cell the input itself. Elements 0, stride, 2 stride, … as base64. */
export function answer({ name, dtype, shape, size, elements, data }, mostElements) {
  const stride = answerStride(elements, mostElements);
  const count = Math.ceil(elements / stride);
  const sent = Buffer.alloc(count * size);
  for (let i = 0; i < count; i += 1) data.copy(sent, i * size, i * stride * size, (i * stride + 1) * size);
  return { name, dtype, shape, stride, data: sent.toString("base64") };
}
