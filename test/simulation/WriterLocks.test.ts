/**
 * Processes that take, release and lose locks in every order of their calls, on a machine in memory.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as NodeWriterLocks from "../../src/storage/provider/node/locks/NodeWriterLocks.ts"
import * as Property from "../../src/testing/Property.ts"
import * as LockWorld from "../storage/lockWorld.ts"

interface Use {
  readonly directory: string
  readonly paths: ReadonlyArray<ReadonlyArray<string>>
}

/** Nested folders, and files that some of them share. */
const uses: ReadonlyArray<Use> = [
  { directory: "/d", paths: [["a"]] },
  { directory: "/d", paths: [["A"], ["b"]] },
  { directory: "/d", paths: [["b", "x"]] },
  { directory: "/d/b", paths: [["X"]] },
  { directory: "/d/b", paths: [["y"]] },
  { directory: "/e", paths: [["a"]] }
]

const filesOf = ({ directory, paths }: Use) => paths.map((path) => [directory, ...path].join("/").toLowerCase())

const meets = (one: Use, other: Use): boolean => filesOf(one).some((file) => filesOf(other).includes(file))

/** Single calls interleave with another process's steps; many calls let it start and end in between. */
const calls = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 8, max: 40 }))

/** What each process does in turn, who makes the next calls, and how many. */
const script = fc.record({
  processes: fc.array(fc.array(fc.nat(uses.length - 1), { minLength: 1, maxLength: 3 }), {
    minLength: 2,
    maxLength: 4
  }),
  turns: fc.infiniteStream(fc.record({ process: fc.nat(3), calls })),
  /** How many calls each process makes before it is killed. A process that ends sooner is not killed. */
  kills: fc.array(fc.option(fc.nat(60)), { minLength: 4, maxLength: 4 })
})

describe("locks of several processes", () => {
  it.effect(
    "never have two holders, and locks of killed processes can be taken",
    () =>
      Property.check(
        script,
        ({ kills, processes, turns }) =>
          Effect.gen(function* () {
            const world = LockWorld.make()
            const holding = new Map<number, Use>()
            const run = Effect.runForkWith(yield* Effect.context())
            const killed = new Set<number>()
            /** Some calls during which a holder keeps its locks. */
            const rest = (system: { readonly list: (path: string) => Effect.Effect<unknown, unknown> }) =>
              Effect.repeat(Effect.ignore(system.list("/")), { times: 5 })

            const use = (index: number, own: NodeWriterLocks.LockProcess, wanted: Use) =>
              NodeWriterLocks.make({ directory: wanted.directory, process: own })
                .acquire(wanted.paths, `torrent ${index}`)
                .pipe(
                  Effect.andThen(
                    Effect.sync(() => {
                      for (const other of holding.values()) assert.isFalse(meets(wanted, other), "two holders")
                      holding.set(index, wanted)
                    })
                  ),
                  Effect.andThen(rest(own.system)),
                  Effect.andThen(Effect.sync(() => void holding.delete(index))),
                  Effect.scoped,
                  Effect.catchTag("WriterHeld", () => Effect.void)
                )
            const started = processes.map((wanted, index) => {
              const { kill, system } = world.spawn()
              const own = NodeWriterLocks.makeProcess(system)
              const fiber = run(Effect.forEach(wanted, (one) => use(index, own, uses[one]!), { discard: true }))
              return { fiber, kill, left: kills[index] ?? undefined }
            })
            let turn = { process: 0, calls: 0 }
            const drive = Effect.fnUntraced(function* (fibers: () => ReadonlyArray<Fiber.Fiber<unknown, unknown>>) {
              while (fibers().some((fiber) => fiber.pollUnsafe() === undefined)) {
                yield* Effect.yieldNow
                if (world.waiting() === 0) yield* TestClock.adjust(1)
                else {
                  if (turn.calls-- <= 0) turn = { ...turns.next().value }
                  world.step(turn.process)
                }
                started.forEach((process, index) => {
                  if (process.left === undefined || killed.has(index) || process.left-- > 0) return
                  process.kill()
                  killed.add(index)
                  holding.delete(index)
                })
              }
            })
            yield* drive(() => started.filter((_, index) => !killed.has(index)).map(({ fiber }) => fiber))
            for (const [index, { fiber }] of started.entries()) if (!killed.has(index)) yield* Fiber.join(fiber)

            const last = NodeWriterLocks.makeProcess(world.spawn().system)
            const takeAll = Effect.forEach(
              ["/d", "/e", "/d/b"],
              (directory) =>
                Effect.scoped(
                  NodeWriterLocks.make({ directory, process: last }).acquire([["a"], ["b"], ["x"], ["y"]], "last")
                ),
              { discard: true }
            )
            const taking = run(takeAll)
            yield* drive(() => [taking])
            yield* Fiber.join(taking)
            assert.deepStrictEqual(
              world.paths().filter((path) => path.includes("/.piecewise")),
              []
            )
            return true
          }),
        { runs: 300 }
      ),
    60_000
  )
})
