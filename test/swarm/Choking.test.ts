import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as Choking from "../../src/swarm/Choking.ts"
import { makeAssembly } from "../peer/protocols.ts"
import { settle } from "../peer/sessions.ts"
import * as Uploads from "../peer/uploads.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"

const geometry = PieceGeometry.make({ pieceLength: 65_536, totalLength: 4 * 65_536 })

/** Choking of three interested peers, and a count of how often it chose. */
const begin = Effect.fnUntraced(function* (slots: () => number) {
  const assembly = yield* makeAssembly({ geometry, stored: [0, 1, 2, 3] })
  const peers = [0, 1, 2].map((key) => {
    const protocol = PeerProtocol.make({
      assembly,
      upload: Uploads.make(geometry),
      id: idOf(key),
      isFast: false,
      wake: () => {},
      serve: () => {},
      interestChanged: () => {},
      now: 0
    })
    protocol.peerInterested = true
    return protocol
  })
  let chosen = 0
  const choking = Choking.make({
    slots: () => {
      chosen++
      return slots()
    },
    peers: () => peers,
    isSeeding: () => true,
    prefersNearlyDone: () => false,
    random: Prng.make(1)
  })
  const unchoked = () => peers.filter(({ uploads }) => !uploads.isChoking).length
  return { choking, unchoked, chosen: () => chosen }
})

describe("Choking", () => {
  it.effect("fills as many slots as there are now", () =>
    Effect.gen(function* () {
      let slots = 2
      const { choking, unchoked } = yield* begin(() => slots)

      Choking.choose(choking, 0)
      const two = unchoked()
      slots = 1
      Choking.choose(choking, 1_000)

      assert.deepStrictEqual([two, unchoked()], [2, 1])
    })
  )

  it.effect("chooses soon, and once, however often it is asked, but never within the call", () =>
    Effect.gen(function* () {
      const { choking, chosen, unchoked } = yield* begin(() => 2)
      yield* Choking.run(choking)

      for (let turn = 0; turn < 5; turn++) Choking.chooseSoon(choking)
      const within = chosen()
      yield* settle

      assert.deepStrictEqual([within, chosen(), unchoked()], [0, 1, 2])
    })
  )

  it.effect("uploads nothing while uploads end, however many slots there are", () =>
    Effect.gen(function* () {
      const { choking, unchoked } = yield* begin(() => 2)
      Choking.choose(choking, 0)

      choking.isParting = true
      Choking.choose(choking, 1_000)
      const parting = unchoked()
      choking.isParting = false
      Choking.choose(choking, 2_000)

      assert.deepStrictEqual([parting, unchoked()], [0, 2])
    })
  )
})
