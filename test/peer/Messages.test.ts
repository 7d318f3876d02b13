import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Messages from "./messages.ts"

/** Pieces of a small torrent, and of one that is many times as large. */
const few = 4_096
const growth = 64

/** Nanoseconds a byte that are not told from none, because the machine is shared. */
const noise = 60

describe("a byte of what a peer repeats", () => {
  for (const kind of Messages.kinds) {
    it.effect(`fault 31: costs the same however many pieces the torrent has: ${kind.name}`, () =>
      Effect.gen(function* () {
        const ofFew = yield* Messages.cost(kind, few, 2_048, 6)
        const ofMany = yield* Messages.cost(kind, few * growth, 2_048, 6)

        // A walk over the pieces would cost about 64 times as much.
        assert.isBelow(ofMany, Math.max(ofFew, noise) * 8)
      }).pipe(Effect.scoped)
    )
  }
})
