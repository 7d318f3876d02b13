/**
 * Counts what operations cost in allocated bytes and calls, without measuring time, and prints that as JSON. Run by
 * `counts.ts` in a process of its own whose flags make the figures the same every time: nothing is compiled in a way
 * that depends on time, and no garbage is collected while it counts.
 */
import { createHook } from "node:async_hooks"
import { Session } from "node:inspector"
import { getHeapStatistics, promiseHooks } from "node:v8"
import * as Effect from "effect/Effect"
import * as Scheduler from "effect/Scheduler"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import type { Count, Report } from "./counts.ts"
import { defaultTurns, type Operation, type Turn } from "./Operation.ts"
import { operations } from "./operations.ts"

const wanted = process.argv.slice(2)

/** Turns before anything is counted. Later ones allocate no feedback, and find every map as large as it gets. */
const warmUp = 2

let effects = 0

/** The default scheduler, which also counts every step that fibers take. */
class CountingScheduler extends Scheduler.MixedScheduler {
  override shouldYield(fiber: Parameters<Scheduler.Scheduler["shouldYield"]>[0]): boolean {
    effects++
    return super.shouldYield(fiber)
  }
}

let promises = 0
const countPromises = () =>
  promiseHooks.onInit(() => {
    promises++
  })

let fileCalls = 0
const fileHook = createHook({
  init: (_, type) => {
    if (type.startsWith("FSREQ")) fileCalls++
  }
})

const session = new Session()
session.connect()

const post = <A>(method: string, parameters?: object): A => {
  let answer: A | undefined
  // Answered before `post` returns.
  session.post(method, parameters, (error: Error | null, found: unknown) => {
    if (error !== null) throw error
    answer = found as A
  })
  return answer!
}

interface Coverage {
  readonly result: ReadonlyArray<{
    readonly url: string
    readonly functions: ReadonlyArray<{ readonly ranges: ReadonlyArray<{ readonly count: number }> }>
  }>
}

const root = new URL("../../src/", import.meta.url).href

/** Calls of functions of `src` since the last look, by file. */
const takeCalls = (): ReadonlyMap<string, number> => {
  const calls = new Map<string, number>()
  for (const { functions, url } of post<Coverage>("Profiler.takePreciseCoverage").result) {
    if (!url.startsWith(root) || url.startsWith(`${root}testing/`)) continue
    const sum = functions.reduce((total, { ranges }) => total + ranges[0]!.count, 0)
    if (sum > 0) calls.set(`src/${url.slice(root.length)}`, sum)
  }
  return calls
}

interface Memory {
  readonly heap: number
  readonly buffers: number
}

const memory = (): Memory => ({
  heap: getHeapStatistics().used_heap_size,
  buffers: process.memoryUsage().arrayBuffers
})

const repeat = (turn: Turn, turns: number): Effect.Effect<void> =>
  Effect.gen(function* () {
    if (typeof turn === "function") for (let index = 0; index < turns; index++) turn()
    else for (let index = 0; index < turns; index++) yield* turn
  })

const middle = (values: ReadonlyArray<number>): number => values.toSorted((a, b) => a - b)[values.length >> 1]!

/** The memory that some turns take: the median of three, because a finalizer may run in one. */
const measureMemory = Effect.fnUntraced(function* (turn: Turn, turns: number) {
  const taken: Array<Memory> = []
  for (let round = 0; round < 3; round++) {
    gc!({ type: "minor" })
    const before = memory()
    yield* repeat(turn, turns)
    const after = memory()
    taken.push({ heap: after.heap - before.heap, buffers: after.buffers - before.buffers })
  }
  return { heap: middle(taken.map(({ heap }) => heap)), buffers: middle(taken.map(({ buffers }) => buffers)) }
})

const files = new Set<string>()

const count = Effect.fnUntraced(function* ({ count, make, turns }: Operation, nothing: Memory) {
  const turn = yield* make
  yield* repeat(turn, warmUp)
  const { buffers, heap } = yield* measureMemory(turn, turns)

  const stopCounting = countPromises()
  fileHook.enable()
  const before = { effects, promises, fileCalls }
  yield* repeat(turn, turns)
  const after = { effects, promises, fileCalls }
  fileHook.disable()
  stopCounting()

  takeCalls()
  yield* repeat(turn, turns)
  const calls = takeCalls()
  for (const file of calls.keys()) files.add(file)

  const each = (total: number): number => Math.round((total / (turns * count)) * 1_000) / 1_000
  const counted: Count = {
    bytes: each(heap - nothing.heap),
    buffers: each(buffers - nothing.buffers),
    calls: each([...calls.values()].reduce((sum, value) => sum + value, 0)),
    // Each turn costs a plain operation nothing, but the loop takes a step.
    effects: typeof turn === "function" ? 0 : each(after.effects - before.effects - 1),
    promises: each(after.promises - before.promises),
    fileCalls: each(after.fileCalls - before.fileCalls)
  }
  return counted
}, Effect.scoped)

const program = Effect.gen(function* () {
  post("Profiler.enable")
  // From the beginning, because it takes long to start, and it allocates nothing when a function is called.
  post("Profiler.startPreciseCoverage", { callCount: true, detailed: false })
  const counts: Record<string, Count> = {}
  // What looking at the memory itself takes, once that has warmed up.
  let nothing: Memory = { heap: 0, buffers: 0 }
  for (let round = 0; round < 5; round++) nothing = yield* measureMemory(() => {}, defaultTurns)
  for (const operation of operations) {
    if (operation.isTimedOnly) continue
    if (wanted.length > 0 && !wanted.some((word) => operation.name.includes(word))) continue
    counts[operation.name] = yield* count(operation, nothing)
  }
  const report: Report = { counts, files: [...files].sort() }
  return report
}).pipe(Effect.provide(BufferBudget.layer()), Effect.provideService(Scheduler.Scheduler, new CountingScheduler()))

console.log(JSON.stringify(await Effect.runPromise(program)))
