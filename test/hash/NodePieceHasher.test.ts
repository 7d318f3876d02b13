import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import { suite } from "./PieceHasher.suite.ts"

suite("node:crypto", NodePieceHasher.layer)

/** Counts the turns of the event loop that begin while `effect` runs. */
const turnsDuring = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    let turns = 0
    let immediate: NodeJS.Immediate
    const tick = () => {
      turns++
      immediate = setImmediate(tick)
    }
    immediate = setImmediate(tick)
    return effect.pipe(
      Effect.map(() => turns),
      Effect.ensuring(Effect.sync(() => clearImmediate(immediate)))
    )
  })

describe("NodePieceHasher", () => {
  it.effect("hashes a piece of one slice without suspending", () =>
    Effect.gen(function* () {
      const hasher = NodePieceHasher.make()

      const turns = yield* turnsDuring(hasher.sha1(new Uint8Array(NodePieceHasher.turnLength)))

      assert.strictEqual(turns, 0)
    })
  )

  it.effect("lets the event loop turn between the slices of a large piece", () =>
    Effect.gen(function* () {
      const hasher = NodePieceHasher.make()

      const turns = yield* turnsDuring(hasher.sha1(new Uint8Array(4 * NodePieceHasher.turnLength + 1)))

      assert.isAtLeast(turns, 4)
    })
  )

  it.effect("counts the pieces of all callers against one turn", () =>
    Effect.gen(function* () {
      const hasher = NodePieceHasher.make()
      const piece = new Uint8Array(NodePieceHasher.turnLength / 2)
      const large = new Uint8Array(2 * NodePieceHasher.turnLength)

      const turns = yield* turnsDuring(
        Effect.forEach([piece, piece, piece, large, piece, piece, piece], hasher.sha256, { concurrency: "unbounded" })
      )

      assert.isAtLeast(turns, 4)
    })
  )
})
