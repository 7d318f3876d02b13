/**
 * Reads what a torrent of a session consists of, and which of its pieces are stored: from the engine while it is there,
 * else from the store and from resume data.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bitfield from "../base/Bitfield.ts"
import { PieceHasher } from "../hash/PieceHasher.ts"
import * as Metainfo from "../metainfo/Metainfo.ts"
import * as FileProgress from "../torrent/FileProgress.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import * as FileRenaming from "./FileRenaming.ts"
import * as SavedResume from "./SavedResume.ts"
import type { SavedContent } from "./SavedTorrent.ts"
import type { Entry } from "./SessionEntry.ts"
import type { SessionRecord } from "./SessionRecord.ts"
import type { SessionStoreError } from "./SessionStore.ts"
import { NotInSession, NotOpened } from "./SessionTorrent.ts"

/** Why something of a torrent could not be read. */
type ContentError = NotInSession | NotOpened | SessionStoreError

/** The torrent in the engine, if it is there and its metadata is known. */
const inEngine = (entry: Entry): Effect.Effect<Torrent | undefined> =>
  Effect.suspend(() => {
    const torrent = entry.opened?.torrent
    if (torrent === undefined) return Effect.undefined
    return Effect.map(torrent.status, ({ totalBytes }) => (totalBytes === 0 ? undefined : torrent))
  })

const contentOf = ({ store }: SessionRecord, entry: Entry): Effect.Effect<SavedContent, ContentError> =>
  Effect.flatMap(store.content(entry.infoHash), (content) =>
    content === undefined || entry.isGone
      ? Effect.fail(new NotInSession({ infoHash: entry.infoHash }))
      : Effect.succeed(content)
  )

/** The metainfo that is saved, with the paths that the files have; `undefined` if there is none yet. */
const savedMetainfo = (
  self: SessionRecord,
  { infoHash }: Entry,
  { files, source }: SavedContent
): Effect.Effect<Metainfo.Metainfo | undefined, NotOpened> =>
  source._tag === "Magnet"
    ? Effect.undefined
    : Metainfo.fromBytes(source.bytes).pipe(
        Effect.mapBoth({
          onSuccess: (metainfo) => FileRenaming.apply(metainfo, files),
          onFailure: ({ why }) => new NotOpened({ infoHash, why })
        }),
        Effect.provideService(PieceHasher, self.hasher)
      )

/** Its metainfo, if that is known. */
export const metainfo = (
  self: SessionRecord,
  entry: Entry
): Effect.Effect<Option.Option<Metainfo.Metainfo>, ContentError> =>
  Effect.gen(function* () {
    const torrent = yield* inEngine(entry)
    const known = torrent === undefined ? Option.none() : yield* Effect.option(torrent.metainfo)
    if (Option.isSome(known)) return known
    return Option.fromUndefinedOr(yield* savedMetainfo(self, entry, yield* contentOf(self, entry)))
  })

/** The pieces that resume data trusts. */
const remembered = (self: SessionRecord, metainfo: Metainfo.Metainfo) => {
  const { infoHash, layout } = metainfo
  return Effect.mapBoth(SavedResume.load(self, metainfo), {
    onSuccess: (data) => (data === undefined ? Bitfield.make(layout.geometry.pieceCount) : SavedResume.trusted(data)),
    onFailure: ({ message }) => new NotOpened({ infoHash, why: message })
  })
}

/** How something of a torrent is read: of one in the engine, or of what is saved; `none` if its metadata is not known. */
interface Reader<A> {
  readonly none: A
  readonly torrent: (torrent: Torrent) => Effect.Effect<A>
  readonly saved: (metainfo: Metainfo.Metainfo, stored: Bitfield.Bitfield, content: SavedContent) => A
}

const read = <A>(self: SessionRecord, entry: Entry, reader: Reader<A>): Effect.Effect<A, ContentError> => {
  const ofSaved = Effect.gen(function* () {
    const content = yield* contentOf(self, entry)
    const metainfo = yield* savedMetainfo(self, entry, content)
    return metainfo === undefined ? reader.none : reader.saved(metainfo, yield* remembered(self, metainfo), content)
  })
  const elseRead = (other: Effect.Effect<A, ContentError>) =>
    Effect.flatMap(inEngine(entry), (torrent) => (torrent === undefined ? other : reader.torrent(torrent)))
  // Resume data has one owner at a time. Nobody puts the torrent into the engine while the lock is held.
  return elseRead(entry.lock.withPermit(elseRead(ofSaved)))
}

/** Its files, except padding, and how far each is. */
export const files = (
  self: SessionRecord,
  entry: Entry
): Effect.Effect<ReadonlyArray<FileProgress.FileProgress>, ContentError> =>
  read<ReadonlyArray<FileProgress.FileProgress>>(self, entry, {
    none: [],
    torrent: (torrent) => torrent.files,
    saved: ({ layout }, stored, { files }) => FileProgress.of(layout, stored, files.priorities ?? [])
  })

/** The pieces that are stored, one bit a piece. */
export const stored = (self: SessionRecord, entry: Entry): Effect.Effect<Bitfield.Bitfield, ContentError> =>
  read(self, entry, { none: Bitfield.make(0), torrent: (torrent) => torrent.stored, saved: (_, stored) => stored })
