/**
 * How a torrent changes: its state, which pieces are stored, and which are wanted.
 *
 * A reader is given the current value first, and then what is different from what it was given before. So a late reader
 * and a slow one are never wrong, and what waits for a slow one never grows.
 */
import * as Arr from "effect/Array"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as Pull from "effect/Pull"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Bitfield from "../base/Bitfield.ts"
import { PieceIndex } from "../base/PieceGeometry.ts"
import { TorrentState } from "./TorrentStatus.ts"
import * as Watch from "./Watch.ts"

/** The schema of a change of a torrent. The reader owns the bitfields; they have one bit a piece. */
export const TorrentChange = Schema.TaggedUnion({
  /**
   * The current value: the first of every reader, and again when something else is known than before, such as after
   * the metadata was fetched or the files were checked. `stored` and `wanted` as in `Torrent.stored` and
   * `TorrentStatus.wantedPieces`.
   */
  Current: { state: TorrentState, stored: Bitfield.Bitfield, wanted: Bitfield.Bitfield },
  /** These pieces are stored now; ascending. */
  Stored: { pieces: Schema.Array(PieceIndex) },
  /** These pieces are not stored any more, or have to be verified again; ascending. */
  Lost: { pieces: Schema.Array(PieceIndex) },
  /** Other pieces are wanted. */
  Selected: { wanted: Bitfield.Bitfield },
  /** The torrent does something else. */
  StateChanged: { state: TorrentState }
})

/** A change of a torrent. */
export type TorrentChange = typeof TorrentChange.Type

/** What a torrent is like now. Whoever gets it copies what it keeps. */
export interface Present {
  readonly state: TorrentState
  /** Increases with each run, and when the metadata is known: then everything is given again. */
  readonly epoch: number
  readonly stored: Bitfield.Bitfield
  /** Pieces of `stored` that do not count. */
  readonly suspects: Bitfield.Bitfield | undefined
  readonly wanted: Bitfield.Bitfield
}

/** The pieces that count as stored, as a copy. */
export const storedOf = ({ stored, suspects }: Present): Bitfield.Bitfield =>
  suspects === undefined || suspects.count === 0
    ? Bitfield.copy(stored)
    : Bitfield.copyWithout(stored, Bitfield.indices(suspects))

/** What a reader was given. */
interface Given {
  state: TorrentState
  readonly epoch: number
  stored: Bitfield.Bitfield
  wanted: Bitfield.Bitfield
}

const isSameState = (one: TorrentState, other: TorrentState): boolean =>
  one._tag === other._tag && ("error" in one ? one.error : undefined) === ("error" in other ? other.error : undefined)

const isSameSet = (one: Bitfield.Bitfield, other: Bitfield.Bitfield): boolean =>
  one.count === other.count && one.bytes.every((byte, at) => byte === other.bytes[at])

/** The changes since what was given, which is brought up to date. */
const since = (given: Given, present: Present): ReadonlyArray<TorrentChange> => {
  const changes: Array<TorrentChange> = []
  const stored = storedOf(present)
  const lost = [...Bitfield.indicesWithout(given.stored, stored)] as ReadonlyArray<number> as ReadonlyArray<PieceIndex>
  if (lost.length > 0) changes.push({ _tag: "Lost", pieces: lost })
  const added = [...Bitfield.indicesWithout(stored, given.stored)] as ReadonlyArray<number> as ReadonlyArray<PieceIndex>
  if (added.length > 0) changes.push({ _tag: "Stored", pieces: added })
  given.stored = stored
  if (!isSameSet(given.wanted, present.wanted)) {
    given.wanted = Bitfield.copy(present.wanted)
    changes.push({ _tag: "Selected", wanted: Bitfield.copy(present.wanted) })
  }
  if (!isSameState(given.state, present.state)) {
    given.state = present.state
    changes.push({ _tag: "StateChanged", state: present.state })
  }
  return changes
}

/**
 * The current value, and then the changes. `look` returns what the torrent is like, and `hasEnded` whether it will not
 * change any more; then the stream ends.
 */
export const changes = (
  watch: Watch.Watch,
  look: () => Present,
  hasEnded: () => boolean
): Stream.Stream<TorrentChange> =>
  Stream.suspend(() => {
    let given: Given | undefined
    const next = (): ReadonlyArray<TorrentChange> => {
      const present = look()
      if (given !== undefined && given.epoch === present.epoch) return since(given, present)
      const { epoch, state, wanted } = present
      const stored = storedOf(present)
      given = { epoch, state, stored, wanted: Bitfield.copy(wanted) }
      return [{ _tag: "Current", state, stored: Bitfield.copy(stored), wanted: Bitfield.copy(wanted) }]
    }
    const pull: Pull.Pull<Arr.NonEmptyReadonlyArray<TorrentChange>> = Effect.suspend(() => {
      const { version } = watch
      const found = next()
      if (Arr.isReadonlyArrayNonEmpty(found)) return Effect.succeed(found)
      return hasEnded() ? Cause.done() : Effect.andThen(Watch.after(watch, version), pull)
    })
    return Stream.fromPull(Effect.succeed(pull))
  })
