/** What operations of the hot files cost in allocated bytes and calls, and the record that it is compared with. */
import { execFile } from "node:child_process"
import { readFile } from "node:fs/promises"
import * as path from "node:path"
import { promisify } from "node:util"

/** What one operation costs, on average. */
export interface Count {
  /** Allocated bytes of the heap, as the interpreter runs the code: the compiler may avoid some of them. */
  readonly bytes: number
  /** Allocated bytes of array buffers. */
  readonly buffers: number
  /** Calls of functions of `src`. */
  readonly calls: number
  /** Steps that fibers take. */
  readonly effects: number
  readonly promises: number
  /** Calls of the file system that the thread pool runs. */
  readonly fileCalls: number
}

/** The counts by operation. `files` are those of `src` that the operations use. */
export interface Report {
  readonly counts: Readonly<Record<string, Count>>
  readonly files: ReadonlyArray<string>
}

/** What an operation may cost. It has no counts if it is only timed. */
export interface Budget extends Partial<Count> {
  /** What it took on the machine that recorded it. It only informs. */
  readonly nanoseconds: number
}

/** The record. The counts depend on the version of Node. */
export interface Budgets {
  readonly node: string
  readonly machine: string
  readonly operations: Readonly<Record<string, Budget>>
}

/** The Node of the checkout, whose version the lock file fixes. */
export const node = path.join(import.meta.dirname, "..", "..", "node_modules", ".bin", "node")

/** Where the record is. */
export const file = path.join(import.meta.dirname, "budgets.json")

/** Reads the record. */
export const read = async (): Promise<Budgets> => JSON.parse(await readFile(file, "utf8"))

/**
 * The interpreter allocates the same objects each time, which a compiler that starts at some moment does not. The young
 * generation holds everything that is counted. Hashes are the same, so maps grow at the same moments.
 */
const flags = [
  "--expose-gc",
  "--no-opt",
  "--no-maglev",
  "--no-sparkplug",
  "--no-lazy-feedback-allocation",
  "--no-allocation-site-pretenuring",
  "--single-threaded-gc",
  "--min-semi-space-size=64",
  "--max-semi-space-size=64",
  "--hash-seed=1",
  "--random-seed=1"
]

/** Counts the operations whose names contain one of `words`; all of them without. */
export const count = async (words: ReadonlyArray<string> = []): Promise<Report> => {
  const { stdout } = await promisify(execFile)(node, [...flags, path.join(import.meta.dirname, "count.ts"), ...words], {
    maxBuffer: 1 << 24
  })
  return JSON.parse(stdout)
}

/** Counts may differ by this share from the record. */
const tolerance = 0.05

/**
 * Less than the smallest thing that can be added to an operation, an object or a call, so that one is noticed in a
 * large operation too; and this share, because the largest are not exactly the same in every run.
 */
const most: Count = { bytes: 12, buffers: 12, calls: 0.3, effects: 0.3, promises: 0.3, fileCalls: 0.6 }
const noise = 0.005

/** What is added once in some turns is no cost of an operation. */
const least: Count = { bytes: 1, buffers: 1, calls: 0.02, effects: 0.05, promises: 0.02, fileCalls: 0.05 }

/** How far a count may be from its record. */
const allowance = (what: keyof Count, budget: Budget): number => {
  const recorded = budget[what] ?? 0
  // In which order the thread pool answers is chance, and so is who waits for whom. How often it is called is not.
  const isChance = (budget.fileCalls ?? 0) > 0 && what !== "fileCalls"
  return Math.max(least[what], Math.min(recorded * tolerance, isChance ? recorded : most[what] + recorded * noise))
}

/** How an operation differs from its budget by more than is allowed, as sentences. */
export const differences = (name: string, found: Count, budget: Budget): ReadonlyArray<string> =>
  (Object.keys(most) as Array<keyof Count>).flatMap((what) =>
    Math.abs(found[what] - (budget[what] ?? 0)) <= allowance(what, budget)
      ? []
      : [`${name}: ${found[what]} ${words[what]}, and the record says ${budget[what] ?? 0}`]
  )

const words: Readonly<Record<keyof Count, string>> = {
  bytes: "allocated bytes",
  buffers: "allocated bytes of array buffers",
  calls: "calls",
  effects: "steps of fibers",
  promises: "promises",
  fileCalls: "calls of the file system"
}
