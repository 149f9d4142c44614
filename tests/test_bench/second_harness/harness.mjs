// A second harness for care-bench, written from docs/harness-protocol.md alone, in a language of its own:
// one round of a plan, with cells of the engine `noop`. Node 20 or newer, no packages.
//
//     node harness.mjs --plan FOLDER/plan.json --round N --launch ID --output FOLDER/round-N.jsonl
//
// Everything here is synchronous. So nothing runs beside an inference, and SIGTERM keeps its default action,
// which ends the process at once, also inside a loop: there is no handler to write one line too many.

import { STARTED, collectGarbage, cpuNs, now, sleepUntil, timed, waitUntil } from "./clock.mjs";
import fs from "node:fs";
import os from "node:os";
import { burstIterations, control, drifted, warmLatencyNs, warmState } from "./arithmetic.mjs";
import { CellFailed, Refused, answer, readArguments, readPlan, readProbe } from "./given.mjs";

const VERSION = "1.0";
const MAX_LINE_BYTES = 64 * 2 ** 20;
const MAX_FILE_BYTES = 512 * 2 ** 20;
const MAX_LINES = 1_000_000;
const MAX_OPENED = 1_000_000; // [ and {
const MAX_COMMAS = 20_000_000;
const KEPT = 20; // one part of so many is for lines that say what failed, and for the end
const MAX_ANSWERS = 64;
const STRETCH_NS = 1_000_000_000;
const STRETCH_SAMPLES = 100_000;

// ---- the control kernel ------------------------------------------------------------------------------------------

/** The shortest of three runs, and the result, which is kept so that no compiler drops the loop. */
function timeControl(iterations) {
  let checksum = "";
  const runs = [0, 1, 2].map(() => timed(() => (checksum = control(iterations))).sample);
  return { iterations, checksum, control_ns: Math.min(...runs) };
}

function calibrate(gate) {
  // Untimed runs first: the same loop is many times slower until the just-in-time compiler has seen it.
  for (let i = 0; i < 100; i += 1) control(10_000);
  let timing = timeControl(gate.control_iterations ?? 1024);
  if (gate.control_iterations !== null) return timing;
  while (timing.control_ns < gate.control_ns && timing.iterations * 2 <= 2 ** 31 - 1) {
    timing = timeControl(timing.iterations * 2);
  }
  return timing;
}

// ---- the file ----------------------------------------------------------------------------------------------------

function count(line, character) {
  let found = 0;
  for (let at = line.indexOf(character); at >= 0; at = line.indexOf(character, at + 1)) found += 1;
  return found;
}

/** Lines of the output file, each handed to the system whole: writeFileSync goes on until all is written. */
function openFile(file) {
  let fd;
  try {
    fd = fs.openSync(file, "wx"); // O_CREAT | O_EXCL
  } catch (error) {
    throw new Refused(`cannot create the output file: ${error.message}`);
  }
  const most = [MAX_FILE_BYTES, MAX_LINES, MAX_OPENED, MAX_COMMAS];
  let n = 0;
  let held = [0, 0, 0, 0];
  const emit = (event, fields) => {
    const line = Buffer.from(`${JSON.stringify({ event, n, at_ns: now(), ...fields })}\n`);
    const share = ["failed", "end"].includes(event) ? 1 : 1 - 1 / KEPT;
    const after = [line.length, 1, count(line, "[") + count(line, "{"), count(line, ",")].map((more, i) => held[i] + more);
    if (line.length > MAX_LINE_BYTES || after.some((value, i) => value > most[i] * share)) {
      throw new CellFailed("too-large", `a line ${event} would pass a limit of the file: ask for less`);
    }
    held = after;
    fs.writeFileSync(fd, line);
    n += 1;
  };
  return { emit, finish: () => emit("end", { events: n }) };
}

// By code points, so that no surrogate pair is cut into halves.
const detail = (text) => [...text.toWellFormed()].slice(0, 2000).join("");
const name = (text) => [...text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, " ")].slice(0, 255).join("");

/** What this process can honestly tell. No thermal status: node knows none, so this harness never rejects for heat. */
function readings() {
  const found = [{ at_ns: now(), kind: "memory", value: process.memoryUsage.rss() }];
  if (process.platform === "win32") return found; // it has no load average: node says 0 there
  return [...found, { at_ns: now(), kind: "load", value: Math.round(os.loadavg()[0] * 1000) }];
}

function hello({ session }, number, launch) {
  const ticks = { win32: 100, darwin: process.arch === "arm64" ? 42 : 1 };
  return {
    protocol: 2, minor: 0, session, round: number, launch, started: STARTED,
    harness: { name: "care-mobile-second", version: VERSION, language: `JavaScript (Node ${process.versions.node})` },
    clock: { name: "process.hrtime.bigint", resolution_ns: ticks[process.platform] ?? 1 },
    machine: {
      model: "", reality: "unknown", os: name(`${os.type()} ${os.release()}`), os_build: name(os.version()),
      architecture: name(os.machine()), soc: name(os.cpus()[0]?.model ?? ""), cores: os.availableParallelism(),
      memory_bytes: os.totalmem(),
    },
    readings: [...readings(), { at_ns: now(), kind: "host", state: name(os.hostname()) }],
  };
}

// ---- the round -----------------------------------------------------------------------------------------------------

class Round {
  constructor(plan, emit) {
    Object.assign(this, plan);
    this.emit = emit;
  }

  /** Run `step` for each cell that is left, in the order given; a cell that fails in it is out for good. */
  each(order, step) {
    for (const cell of order.map((index) => this.cells.get(index)).filter((found) => found)) {
      try {
        step(cell);
      } catch (error) {
        if (!(error instanceof CellFailed)) throw error;
        this.cells.delete(cell.index);
        this.emit("failed", { code: error.code, detail: detail(error.message), cell: cell.index });
      }
    }
  }

  load(cell) {
    if (cell.engine !== "noop") throw new CellFailed("no-engine", `there is no engine ${cell.engine} here, only noop`);
    if (cell.cores?.length === 0) throw new CellFailed("no-core", "cores is an empty list");
    const needed = cell.probes.filter((probe, i) => i === 0 || (probe.judged ?? true));
    const probes = needed.map((probe) => readProbe(this.folder, probe)); // before the load is timed
    if (cell.cores !== null) {
      this.emit("note", { code: "affinity-not-supported", detail: "node cannot choose its cores", cell: cell.index });
    }
    const { sample: load_ns } = timed(() => (cell.run = () => {}));
    cell.judged = probes.filter((probe) => probe.judged);
    // Nothing is loaded, so nothing shows that it was a first or a cold load; `cached` needs no proof.
    const kind = this.round.load === "cached" ? "cached" : "unproven";
    const engine = { name: "noop", version: VERSION };
    this.emit("loaded", { cell: cell.index, kind, load_ns, engine, memory_bytes: process.memoryUsage.rss() });
    for (const probe of cell.judged) this.check(cell, probe, "before");
  }

  check(cell, probe, moment) {
    cell.run();
    if (probe.tensors.length > MAX_ANSWERS) throw new CellFailed("too-large", `more than ${MAX_ANSWERS} answers`);
    const answers = probe.tensors.map((tensor) => answer(tensor, this.answer_elements));
    this.emit("checked", { cell: cell.index, probe: probe.name, moment, answers });
  }

  warm(cell) {
    const samples = [];
    let total_ns = 0;
    let state = "cold";
    const began = now();
    while (state === "cold") {
      samples.push(timed(cell.run).sample);
      total_ns = now() - began;
      state = warmState(samples, total_ns, this.warmup);
    }
    const latency_ns = warmLatencyNs(samples, this.warmup.window);
    const { target_ns, min_iterations, max_iterations } = this.burst;
    cell.burst = burstIterations(latency_ns, target_ns, min_iterations, max_iterations);
    const [iterations, first_ns, steady] = [samples.length, samples[0], state === "steady"];
    this.emit("warm", { cell: cell.index, iterations, first_ns, latency_ns, total_ns, steady });
  }

  /** One burst of each cell, one after the other. */
  bursts(cells) {
    return cells.map((cell) => {
      const samples = new Float64Array(cell.burst);
      collectGarbage();
      const start_ns = now();
      const cpu = cpuNs();
      for (let i = 0; i < samples.length; i += 1) samples[i] = timed(cell.run).sample;
      const cpu_ns = cpuNs() - cpu;
      const end_ns = now();
      sleepUntil(end_ns + this.burst.pause_ns);
      return { cell: cell.index, start_ns, end_ns, cpu_ns, samples_ns: Array.from(samples) };
    });
  }

  /** The cells in turns. CPU time comes in microseconds, too coarse to be added up over single inferences: null. */
  singles(cells) {
    const count = Math.min(...cells.map((cell) => cell.burst));
    const bursts = cells.map((cell) => {
      return { cell: cell.index, start_ns: 0, end_ns: 0, cpu_ns: null, samples_ns: new Array(count).fill(0) };
    });
    collectGarbage();
    for (let i = 0; i < count; i += 1) {
      for (let position = 0; position < cells.length; position += 1) {
        const { began, sample } = timed(cells[position].run);
        const burst = bursts[position];
        burst.samples_ns[i] = sample;
        burst.end_ns = began + sample;
        if (i === 0) burst.start_ns = began;
      }
    }
    sleepUntil(now() + this.burst.pause_ns);
    return bursts;
  }

  /** One attempt of a slot; true if it was rejected. */
  block(number, attempt, row) {
    const cells = row.map((index) => this.cells.get(index)).filter((found) => found);
    if (cells.length === 0) return false; // a block without cells is not written
    const { control_drift_permille: permille } = this.gate;
    const kernel = () => (permille === null ? null : timeControl(this.control.iterations).control_ns);
    const block = { block: number, attempt, start_ns: now(), before: readings(), control_before_ns: kernel() };
    block.bursts = this.burst.mode === "single" ? this.singles(cells) : this.bursts(cells);
    Object.assign(block, { control_after_ns: kernel(), after: readings(), end_ns: now(), rejected: null });
    const [before, after] = [block.control_before_ns, block.control_after_ns];
    if (permille !== null && drifted(before, after, permille)) {
      block.rejected = { code: "control-drift", detail: `${before} ns before, ${after} ns after` };
    }
    try {
      this.emit("block", block);
    } catch (error) {
      this.each(row, () => { throw error; }); // the line does not fit into the file: each of its cells failed
    }
    return block.rejected !== null;
  }

  pace(cell) {
    const { interval_ns, count } = this.paced;
    const samples = new Float64Array(count);
    const late = new Float64Array(count);
    const before = readings();
    collectGarbage();
    const start_ns = now();
    for (let k = 0; k < count; k += 1) {
      const due = start_ns + k * interval_ns; // past 2^53 only for what is due in more than 104 days
      waitUntil(due);
      const { began, sample } = timed(cell.run);
      samples[k] = sample;
      late[k] = began - due;
    }
    const [samples_ns, late_ns] = [Array.from(samples), Array.from(late)];
    this.emit("paced", { cell: cell.index, start_ns, interval_ns, samples_ns, late_ns, before, after: readings() });
  }

  sustain(cell) {
    const { duration_ns, min_count } = this.sustained;
    const samples = new Float64Array(STRETCH_SAMPLES);
    collectGarbage();
    const began = now();
    for (let total = 0, done = false; !done; ) {
      const start_ns = total === 0 ? began : now();
      const cpu = cpuNs();
      let count = 0;
      let end_ns = start_ns;
      while (!done && count < STRETCH_SAMPLES && end_ns - start_ns < STRETCH_NS) {
        samples[count] = timed(cell.run).sample;
        count += 1;
        total += 1;
        end_ns = now();
        done = end_ns - began >= duration_ns && total >= min_count;
      }
      const cpu_ns = cpuNs() - cpu;
      const samples_ns = Array.from(samples.subarray(0, count));
      this.emit("sustained", { cell: cell.index, start_ns, end_ns, samples_ns, cpu_ns, after: readings() });
    }
  }

  measure() {
    const { cells, blocks, phases } = this.round;
    this.control = calibrate(this.gate);
    this.emit("control", this.control);
    this.each(cells, (cell) => this.load(cell));
    this.each(cells, (cell) => this.warm(cell));
    if (phases.includes("burst")) {
      blocks.forEach((row, number) => {
        for (let attempt = 0; this.block(number, attempt, row) && attempt < this.gate.retries; ) attempt += 1;
      });
    }
    if (phases.includes("paced")) this.each(cells, (cell) => this.pace(cell));
    if (phases.includes("sustained")) this.each(cells, (cell) => this.sustain(cell));
    this.each(cells, (cell) => cell.judged.length > 0 && this.check(cell, cell.judged[0], "after"));
  }

  /** A word in the plan that this harness would have to act on and does not know, or null. */
  unknownWish() {
    const phase = this.round.phases.find((wish) => !["burst", "paced", "sustained"].includes(wish));
    if (phase !== undefined) return `there is no phase ${phase} here`;
    const known = !this.round.phases.includes("burst") || ["bursts", "single"].includes(this.burst.mode);
    return known ? null : `there is no mode ${this.burst.mode} here`;
  }
}

function main(words) {
  const { plan: file, number, launch, output } = readArguments(words);
  const plan = readPlan(file, number);
  const { emit, finish } = openFile(output); // nothing above has created it, nothing below is refused
  emit("hello", hello(plan, number, launch));
  const round = new Round(plan, emit);
  const unknown = round.unknownWish();
  if (unknown === null) round.measure();
  else emit("failed", { code: "not-supported", detail: detail(unknown) });
  finish();
}

try {
  main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`${error.message.replace(/\s+/g, " ")}\n`);
  process.exitCode = error instanceof Refused ? 2 : 1;
}
