/**
 * What operations of the hot files cost: `npm run bench:micro`, or some of them by words in their names, as `npm run
 * bench:micro -- FrameDecoder`. Prints time, instructions, allocated bytes and calls beside the record in
 * `test/bench/budgets.json`.
 *
 * Times only inform, because they are those of one machine at one moment. Instructions are counted with `perf` if it
 * can count them here. Exit code 1 means that bytes or calls differ from the record. `--record` writes a new record, of
 * the named operations only if some are named.
 */
import { spawn } from "node:child_process"
import { writeFile } from "node:fs/promises"
import * as os from "node:os"
import * as path from "node:path"
import { createInterface } from "node:readline"
import { parseArgs } from "node:util"
import * as Counts from "../test/bench/counts.ts"
import * as Command from "./command.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { record: { type: "boolean", default: false } }
})

const timeScript = path.join(Command.root, "test", "bench", "time.ts")

/** The event of `perf` that counts the instructions of a program without the kernel. */
const event = "instructions:u"

/** Times the operations one by one, and prints each as it is known. */
const time = async (print: (name: string, nanoseconds: number) => Promise<void>): Promise<void> => {
  const child = spawn(Counts.node, [timeScript, ...positionals], { stdio: ["ignore", "pipe", "inherit"] })
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve))
  for await (const line of createInterface({ input: child.stdout })) {
    const { name, nanoseconds } = JSON.parse(line) as { name: string; nanoseconds: number }
    await print(name, nanoseconds)
  }
  const code = await ended
  if (code !== 0) throw new Command.CommandFailed(timeScript, `ended with ${code}`, "")
}

/** Counts the events of a whole process that runs `turns` turns; `undefined` if they cannot be counted here. */
const eventsOf = async (args: ReadonlyArray<string>): Promise<number | undefined> => {
  const output = await Command.capture("perf", ["stat", "-x", ",", "-e", event, ...args]).catch((error: unknown) => {
    if (!(error instanceof Command.CommandFailed)) throw error
    return ""
  })
  const line = output.split("\n").find((line) => line.includes(event))
  const count = Number.parseFloat(line ?? "")
  return Number.isNaN(count) ? undefined : count
}

/** Instructions per turn: those of three tenths of a second of turns without those of a tenth. */
const instructionsOf = async (name: string, nanosecondsPerTurn: number): Promise<number | undefined> => {
  const few = Math.max(20, Math.round(1e8 / nanosecondsPerTurn))
  const [low, high] = [few, 3 * few]
  const [first, second] = [
    await eventsOf([Counts.node, timeScript, "--turns", String(low), name]),
    await eventsOf([Counts.node, timeScript, "--turns", String(high), name])
  ]
  return first === undefined || second === undefined ? undefined : (second - first) / (high - low)
}

const changed: Array<string> = []

const main = async (): Promise<void> => {
  const budgets = await Counts.read().catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error
    return undefined
  })
  const { counts } = await Counts.count(positionals)
  const countsInstructions = (await eventsOf([Counts.node, "--eval", "0"])) !== undefined
  if (!countsInstructions) console.log("Without instructions: perf is not installed, or cannot count them here.")
  console.log("Time in ns, in parentheses that of the record. Then bytes, bytes of array buffers, calls, steps of")
  console.log("fibers, promises and calls of the file system.\n")

  const recorded: Record<string, Counts.Budget> = {}
  await time(async (name, nanoseconds) => {
    const found = counts[name]
    const budget = budgets?.operations[name]
    const before = budget === undefined ? "" : ` (${budget.nanoseconds.toFixed(1)})`
    const per = countsInstructions ? await instructionsOf(name, nanoseconds) : undefined
    const instructions = per === undefined ? "" : `  ${per.toFixed(0)} instructions a turn`
    const numbers = found === undefined ? "" : Object.values(found).join("  ")
    console.log(`${name}\n  ${nanoseconds.toFixed(1)}${before}  ${numbers}${instructions}`)
    recorded[name] = { nanoseconds: Math.round(nanoseconds * 10) / 10, ...found }
    if (found === undefined || values.record) return
    const differences = budget === undefined ? [`${name}: it has no record`] : Counts.differences(name, found, budget)
    for (const difference of differences) console.log(`  DIFFERS: ${difference}`)
    changed.push(...differences)
  })
  if (!values.record) return
  const [cpu] = os.cpus()
  const kept = positionals.length > 0 ? (budgets?.operations ?? {}) : {}
  const written: Counts.Budgets = {
    node: (await Command.capture(Counts.node, ["--version"])).trim().slice(1),
    machine: `${cpu?.model.trim()}, ${os.cpus().length} cores`,
    operations: { ...kept, ...recorded }
  }
  await writeFile(Counts.file, `${JSON.stringify(written, undefined, 2)}\n`)
  await Command.capture("biome", ["format", "--write", Counts.file])
  console.log(`\nRecorded ${Object.keys(recorded).length} operations in ${path.relative(Command.root, Counts.file)}.`)
}

try {
  await main()
  if (changed.length > 0 && !values.record) {
    console.log(`\n${changed.length} counts differ from the record; --record accepts them.`)
    process.exitCode = 1
  }
} catch (error) {
  if (!(error instanceof Command.CommandFailed)) throw error
  console.error(`${error.output}bench:micro: ${error.message}`)
  process.exitCode = 1
}
