import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as PieceGeometry from "../../src/base/PieceGeometry.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as PeerProtocol from "../../src/peer/PeerProtocol.ts"
import * as Candidate from "../../src/swarm/Candidate.ts"
import * as Choking from "../../src/swarm/Choking.ts"
import { Contender } from "../../src/swarm/Contender.ts"
import * as PeerPolicy from "../../src/swarm/PeerPolicy.ts"
import { makeAssembly } from "../peer/protocols.ts"
import { settle } from "../peer/sessions.ts"
import * as Uploads from "../peer/uploads.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { at } from "./swarms.ts"

const geometry = PieceGeometry.make({ pieceLength: 65_536, totalLength: 4 * 65_536 })

/** Choking of three interested peers, and a count of how often it chose. */
const begin = Effect.fnUntraced(function* (slots: () => number, policy?: Partial<PeerPolicy.PeerPolicy>) {
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
    return new Contender({
      protocol,
      peerId: new Uint8Array(20).fill(key),
      remote: at(key),
      isIncoming: false,
      openedAt: 0,
      origin: Candidate.given,
      infoHash: new Uint8Array(20) as InfoHash
    })
  })
  const defects: Array<unknown> = []
  let chosen = 0
  const choking = Choking.make({
    slots: () => {
      chosen++
      return slots()
    },
    peers: () => peers,
    isSeeding: () => true,
    prefersNearlyDone: () => false,
    random: Prng.make(1),
    policy: {
      policy: { ...PeerPolicy.standard, ...policy },
      onDefect: (defect) => defects.push(defect)
    }
  })
  const isUnchoked = () => peers.map((peer) => peer.isUnchoked)
  const unchoked = () => isUnchoked().filter((isUnchoked) => isUnchoked).length
  return { choking, peers, unchoked, isUnchoked, defects, chosen: () => chosen }
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

  describe("by a policy", () => {
    const choosing = (choose: PeerPolicy.Choose) => ({ choker: () => choose })

    it.effect("unchokes the peers that it returns, and chokes all others", () =>
      Effect.gen(function* () {
        let wanted = [0, 2]
        const policy = choosing((peers) => wanted.map((index) => peers[index]!))
        const { choking, isUnchoked } = yield* begin(() => 2, policy)

        Choking.choose(choking, 0)
        const first = isUnchoked()
        wanted = [1]
        Choking.choose(choking, 1_000)

        assert.deepStrictEqual(
          [first, isUnchoked()],
          [
            [true, false, true],
            [false, true, false]
          ]
        )
      })
    )

    it.effect("unchokes no more than the slots, whatever it returns", () =>
      Effect.gen(function* () {
        const policies: ReadonlyArray<PeerPolicy.Choose> = [
          (peers) => peers,
          (peers) => [peers[0]!, peers[0]!, peers[1]!, peers[2]!],
          function* (peers) {
            while (true) yield* peers
          },
          function* (peers) {
            while (true) yield peers[0]!
          },
          (peers) => [{ ...peers[0]! }, undefined, "a" as never, peers[2]!] as Array<PeerPolicy.Contender>,
          () => []
        ]

        const unchoked = yield* Effect.forEach(policies, (choose) =>
          Effect.map(
            begin(() => 2, choosing(choose)),
            ({ choking, defects, isUnchoked }) => {
              Choking.choose(choking, 0)
              assert.deepStrictEqual(defects, [])
              return isUnchoked().map(Number).join("")
            }
          )
        )

        assert.deepStrictEqual(unchoked, ["110", "110", "110", "100", "000", "000"])
      })
    )

    it.effect("does not unchoke a peer that has left, nor one of another torrent", () =>
      Effect.gen(function* () {
        const kept: Array<PeerPolicy.Contender> = []
        const remembering: PeerPolicy.Choose = (peers) => {
          kept.push(...peers)
          return [...kept, ...peers]
        }
        const one = yield* begin(() => 2, choosing(remembering))
        const other = yield* begin(() => 2, choosing(remembering))
        Choking.choose(one.choking, 0)
        const [left] = one.peers.splice(0, 1)
        Choking.choose(other.choking, 0)

        Choking.choose(one.choking, 1_000)

        assert.isTrue(left!.isUnchoked, "the choker touches only peers that are there")
        assert.strictEqual(other.unchoked(), 0)
      })
    )

    it.effect("chokes everybody if it throws, and reports that", () =>
      Effect.gen(function* () {
        const bug = new Error("a bug")
        let isBroken = false
        const throwing = choosing((peers) => {
          if (isBroken) throw bug
          return peers
        })
        const { choking, defects, unchoked } = yield* begin(() => 2, throwing)
        Choking.choose(choking, 0)
        const before = unchoked()
        isBroken = true

        Choking.choose(choking, 1_000)

        assert.deepStrictEqual([before, unchoked(), defects], [2, 0, [bug]])
      })
    )

    it.effect("learns how fast blocks come and go", () =>
      Effect.gen(function* () {
        let rates: ReadonlyArray<number> = []
        const measuring: PeerPolicy.Choose = ([peer]) => {
          rates = [peer!.downloadBytesPerSecond, peer!.uploadBytesPerSecond].map(Math.round)
          return []
        }
        const { choking, peers } = yield* begin(() => 2, choosing(measuring))

        for (let second = 1; second <= 120; second++) {
          peers[0]!.protocol.usefulBytes += 1_000
          peers[0]!.protocol.uploadedBytes += 500
          Choking.choose(choking, second * 1_000)
        }

        assert.deepStrictEqual(rates, [1_000, 500])
      })
    )
  })
})
