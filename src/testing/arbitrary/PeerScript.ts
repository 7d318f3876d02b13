/**
 * Arbitrary behaviours of scripted peers: mostly honest, now and then damaged, each with a label that says what a
 * property may expect of the peer. Times are short next to an engine's timeouts unless the label is `slow`.
 */
import * as fc from "fast-check"
import type { PieceGeometry } from "../../base/PieceGeometry.ts"
import type { Announcement, Corruption, Misanswer, PeerBehaviour } from "../PeerBehaviour.ts"

/**
 * What a peer is like. `honest`: a seed that answers everything rightly and soon, with any manners; `partial`: the same
 * with some of the pieces. `slow`: right, but minutes may pass. `quitter`: right until it leaves. `mute`: never sends a
 * block. `poisoner`: sends wrong bytes. `rude`: breaks the protocol.
 */
export type Label = "honest" | "partial" | "slow" | "quitter" | "mute" | "poisoner" | "rude"

/** A behaviour and what to expect of it. */
export interface PeerScript {
  readonly label: Label
  readonly behaviour: PeerBehaviour
}

const labelled = (label: Label, behaviour: fc.Arbitrary<PeerBehaviour>): fc.Arbitrary<PeerScript> =>
  behaviour.map((behaviour) => ({ label, behaviour }))

/** Manners that harm nobody. */
const manners: fc.Arbitrary<PeerBehaviour> = fc.record(
  {
    seed: fc.nat(1_000),
    features: fc.record({ fast: fc.boolean() }),
    announces: fc.constantFrom<Array<Announcement>>("properly", "bitfield", { every: "50 millis" }),
    unchokes: fc.constantFrom("when interested" as const, "at once" as const),
    bytesPerSecond: fc.integer({ min: 65_536, max: 16_777_216 }),
    delay: fc.integer({ min: 1, max: 400 })
  },
  { requiredKeys: ["seed"] }
)

/** Manners, and a deviation on top. */
const having = (deviation: fc.Arbitrary<PeerBehaviour>): fc.Arbitrary<PeerBehaviour> =>
  fc.tuple(manners, deviation).map(([some, more]) => ({ ...some, ...more }))

const corruption = (geometry: PieceGeometry): fc.Arbitrary<Corruption> => {
  const piece = fc.nat(geometry.pieceCount - 1)
  return fc.oneof(
    fc.constantFrom<Corruption>("every block", "last block"),
    fc.record({ pieces: fc.uniqueArray(piece, { minLength: 1, maxLength: 5 }) }),
    fc.record({ blocks: fc.array(fc.record({ piece, block: fc.nat(3) }), { minLength: 1, maxLength: 5 }) }),
    fc.record({ probability: fc.constantFrom(0.01, 0.1, 0.5) })
  )
}

const misanswer = fc.constantFrom<Misanswer>(
  "unaligned",
  "short",
  "long",
  "other piece",
  "out of range",
  "duplicate",
  "unrequested"
)

/** A seed that does everything right. */
export const honest: fc.Arbitrary<PeerScript> = labelled("honest", manners)

/** A peer that no download can rely on. */
export const damaged = (geometry: PieceGeometry): fc.Arbitrary<PeerScript> =>
  fc.oneof(
    labelled(
      "partial",
      having(fc.record({ pieces: fc.uniqueArray(fc.nat(geometry.pieceCount - 1), { maxLength: geometry.pieceCount }) }))
    ),
    labelled("slow", having(fc.record({ bytesPerSecond: fc.integer({ min: 100, max: 5_000 }) }))),
    labelled("slow", having(fc.record({ trickle: fc.integer({ min: 100, max: 2_000 }) }))),
    labelled("slow", having(fc.record({ chokesEvery: fc.integer({ min: 50, max: 2_000 }) }))),
    labelled(
      "quitter",
      having(
        fc.record({
          stopsAfter: fc.record({
            blocks: fc.integer({ min: 1, max: 20 }),
            how: fc.constantFrom("close" as const, "stall" as const)
          })
        })
      )
    ),
    labelled("quitter", having(fc.record({ disconnects: fc.constantFrom(0.01, 0.1, 0.5) }))),
    labelled(
      "mute",
      having(
        fc.constantFrom<PeerBehaviour>(
          { stopsAfter: { blocks: 0, how: "stall" } },
          { stopsAfter: { blocks: 0, how: "close" } },
          { silent: "from the start" },
          { silent: "after the handshake" },
          { unchokes: "never" },
          { pieces: [] },
          { wrongInfoHash: true }
        )
      )
    ),
    labelled("poisoner", having(fc.record({ corrupts: corruption(geometry) }))),
    labelled(
      "rude",
      having(fc.record({ misanswers: fc.record({ how: misanswer, every: fc.integer({ min: 1, max: 5 }) }) }))
    ),
    labelled(
      "rude",
      having(
        fc.record({
          announces: fc.constantFrom<Array<Announcement>>(
            "short bitfield",
            "long bitfield",
            "spare bit",
            "twice",
            "have out of range"
          )
        })
      )
    ),
    labelled("rude", having(fc.record({ floods: fc.integer({ min: 1, max: 5_000 }) })))
  )

/** Honest three times in four. */
export const peerScript = (geometry: PieceGeometry): fc.Arbitrary<PeerScript> =>
  fc.oneof({ weight: 3, arbitrary: honest }, { weight: 1, arbitrary: damaged(geometry) })
