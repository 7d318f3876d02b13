import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { piece } from "./pieces.ts"
import * as Swarm from "./swarm.ts"

/**
 * Scripts are drawn here. The model is what the wire has seen (`swarm.ts`, `Peer.out`): a request is out if it was sent
 * and neither answered, rejected, cancelled nor released by a choke. Every step is compared with it.
 */
type Model = Record<string, never>

type Step = Property.Command<Model, never, Swarm.TestSwarm>

/** A step after which everything that always holds is checked. */
const step = (name: string, run: (swarm: Swarm.TestSwarm["Service"]) => Effect.Effect<unknown>): Step => ({
  name,
  run: () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.TestSwarm
      yield* run(swarm)
      yield* swarm.settle
      swarm.check()
    })
})

/** A step of one of the peers, if there is any. */
const peerStep = (
  name: string,
  run: (swarm: Swarm.TestSwarm["Service"], peer: Swarm.Peer) => Effect.Effect<unknown>
): fc.Arbitrary<Step> =>
  fc.nat(5).map((which) =>
    step(`${name}(${which})`, (swarm) => {
      const peer = swarm.peers[which % Math.max(1, swarm.peers.length)]
      return peer === undefined ? Effect.void : run(swarm, peer)
    })
  )

const seed = [0, 1, 2, 3, 4]

const joins = fc
  .record({
    isLiar: fc.constantFrom(false, false, true),
    isFast: fc.boolean(),
    pieces: fc.oneof({ weight: 2, arbitrary: fc.constant(seed) }, { weight: 1, arbitrary: fc.subarray(seed) }),
    isOpen: fc.constantFrom(true, true, true, false)
  })
  .map(({ isOpen, ...options }) =>
    step(`join(${options.isLiar ? "liar" : "honest"}, ${options.isFast}, ${options.pieces}, ${isOpen})`, (swarm) =>
      swarm.peers.length >= 6
        ? Effect.void
        : Effect.flatMap(swarm.join(options), (peer) => (isOpen ? swarm.say(peer, FrameEncoder.unchoke) : Effect.void))
    )
  )

const serves = fc.tuple(fc.nat(5), fc.constantFrom(1, 1, 2, 3, 20), fc.boolean()).map(([which, count, isRight]) =>
  step(`serve(${which}, ${count}, ${isRight})`, (swarm) => {
    const peer = swarm.peers[which % Math.max(1, swarm.peers.length)]
    if (peer === undefined) return Effect.void
    return swarm.serve(peer, count, peer.isLiar && !isRight ? "wrong" : "right")
  })
)

const unasked = fc
  .tuple(fc.nat(4), fc.nat(2))
  .filter(([index, block]) => index < 4 || block === 0)
  .chain(([index, block]) =>
    peerStep(`send(${index}:${block})`, (swarm, peer) => swarm.push(peer, `${index}:${block}`))
  )

const gains = fc.nat(4).chain((index) =>
  peerStep(`have(${index})`, (swarm, peer) =>
    swarm.say(peer, (encoder) => {
      peer.has.bytes[0]! |= 0x80 >>> index
      FrameEncoder.have(encoder, index)
    })
  )
)

const disks = fc.constantFrom(
  step("disk full", ({ faults }) => Effect.sync(() => faults.failAll("write", FaultyStorage.diskFull))),
  step("next write fails", ({ faults }) =>
    Effect.sync(() => faults.failNth("write", 0, FaultyStorage.inputOutputError))
  ),
  step("disk well", ({ faults }) => Effect.sync(() => faults.recover()))
)

const neighbours = fc
  .tuple(fc.boolean(), fc.nat(4))
  .map(([takes, index]) =>
    step(`neighbour ${takes ? "takes" : "gives"} ${index}`, (swarm) =>
      takes ? swarm.lendToNeighbour(piece(index)) : swarm.takeFromNeighbour(piece(index))
    )
  )

const selections = fc
  .array(fc.constantFrom("skip" as const, "normal" as const, "high" as const), { minLength: 5, maxLength: 5 })
  .map((priorities) => step(`prioritise(${priorities})`, (swarm) => swarm.prioritise(priorities)))

const owners = [{ name: "a reader" }, { name: "another reader" }]

const deadlines = fc
  .tuple(fc.nat(1), fc.array(fc.tuple(fc.nat(4), fc.constantFrom(-1, 0, 2, 5, 60)), { maxLength: 4 }))
  .map(([owner, due]) => step(`due(${owner}, ${due.join(" ")})`, (swarm) => swarm.due(owners[owner]!, due)))

const steps = [
  joins,
  joins,
  joins,
  serves,
  serves,
  serves,
  unasked,
  gains,
  disks,
  neighbours,
  selections,
  deadlines,
  peerStep("unchoke", (swarm, peer) => swarm.say(peer, FrameEncoder.unchoke)),
  peerStep("choke", (swarm, peer) => swarm.choke(peer)),
  peerStep("reject", (swarm, peer) => swarm.reject(peer, 2)),
  peerStep("half", (swarm, peer) => swarm.serve(peer, 1, "half")),
  peerStep("late", (swarm, peer) =>
    peer.cancelled.length === 0 ? Effect.void : swarm.push(peer, peer.cancelled.pop()!)
  ),
  peerStep("leave", (swarm, peer) => swarm.leave(peer)),
  fc.integer({ min: 1, max: 70 }).map((seconds) => step(`wait(${seconds})`, (swarm) => swarm.advance(seconds)))
]

describe("pieces under any script of peers, disks and neighbours", () => {
  for (const [cap, buffers, verifies] of [
    [1, 1, false],
    [2, 3, false],
    [2, 3, true],
    [5, 5, false],
    [5, 5, true]
  ] as const) {
    const medium = verifies ? "a storage that verifies" : "one that does not"
    it.effect(
      `hold all laws after every step and end complete, with ${cap} buffers of a budget of ${buffers} and ${medium}`,
      () =>
        Property.commands(steps, {
          model: (): Model => ({}),
          layer: Swarm.layer(cap, buffers, { verifies }),
          testClock: true,
          maxCommands: 60,
          runs: 500
        }),
      { timeout: 600_000 }
    )
  }
})

describe("the scripted swarm itself", () => {
  it.effect("downloads from one honest peer", () =>
    Effect.gen(function* () {
      const swarm = yield* Swarm.make(5)

      yield* swarm.finish

      assert.strictEqual(swarm.facts.filter((fact) => fact.startsWith("Stored")).length, 5)
    }).pipe(Effect.provide(Swarm.world(7)))
  )
})
