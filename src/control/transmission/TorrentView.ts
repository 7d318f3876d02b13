/**
 * What the fields of a torrent are made from, and how much of it is read for which field.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Bitfield from "../../base/Bitfield.ts"
import type { Metainfo } from "../../metainfo/Metainfo.ts"
import { NotInSession, type Session, type SessionTorrent } from "../../session/Session.ts"
import type { SessionStatus } from "../../session/SessionStatus.ts"
import type { FileProgress } from "../../torrent/FileProgress.ts"
import type { SourceStatus } from "../../torrent/SourceStatus.ts"
import type { PeerStatus } from "../../torrent/Torrent.ts"
import type { TorrentStatus } from "../../torrent/TorrentStatus.ts"

/** What a field may need beside the snapshot of the session. */
export type Need = "engine" | "peers" | "sources" | "metainfo" | "files" | "stored"

/** What can be read of a torrent that is not in the engine. */
const contentNeeds = ["metainfo", "files", "stored"] as const

/** What is known without reading anything of the torrent. */
export interface Basis {
  readonly id: number
  readonly status: SessionStatus
  /** Its place in the queue, from 0. */
  readonly place: number
  /** The folder of torrents that have none of their own. */
  readonly directory: string
  /** Milliseconds since 1970, for dates. */
  readonly now: number
  /** Milliseconds since it exchanged bytes, as far as anybody has looked; `undefined` if never. */
  readonly transferredMillisAgo: number | undefined
}

/** A torrent, as far as its fields need it. What was not read, or is not known, is empty. */
export interface TorrentView extends Basis {
  /** What the engine says of it, while it is there. */
  readonly engine: TorrentStatus | undefined
  readonly peers: ReadonlyArray<PeerStatus>
  readonly sources: ReadonlyArray<SourceStatus>
  readonly metainfo: Metainfo | undefined
  readonly files: ReadonlyArray<FileProgress>
  readonly stored: Bitfield.Bitfield
  /** Why something of it could not be read. */
  readonly unreadable: string | undefined
}

const nothing = Bitfield.make(0)

/** A view of which nothing was read. */
export const bare = (basis: Basis): TorrentView => ({
  ...basis,
  engine: undefined,
  peers: [],
  sources: [],
  metainfo: undefined,
  files: [],
  stored: nothing,
  unreadable: undefined
})

/** Reads what is needed of a torrent. `none` if it was removed meanwhile. */
export const read = (
  session: Session["Service"],
  basis: Basis,
  needs: ReadonlySet<Need>
): Effect.Effect<Option.Option<TorrentView>> => {
  const view = bare(basis)
  const isActive = basis.status.state._tag === "Active"
  // Most torrents of a large session do not run, and a list needs nothing else of those.
  if (!isActive && !contentNeeds.some((need) => needs.has(need))) return Effect.succeedSome(view)
  return Effect.gen(function* () {
    const handle = yield* session.get(basis.status.infoHash)
    return { ...view, ...(yield* ofEngine(handle, needs)), ...(yield* ofContent(handle, needs)) }
  }).pipe(
    Effect.asSome,
    Effect.catchTag("piecewise/NotInSession", () => Effect.succeedNone)
  )
}

const ofEngine = Effect.fnUntraced(function* (handle: SessionTorrent, needs: ReadonlySet<Need>) {
  const torrent = Option.getOrUndefined(yield* handle.torrent)
  if (torrent === undefined) return {}
  return {
    engine: yield* torrent.status,
    peers: needs.has("peers") ? yield* torrent.peers : [],
    sources: needs.has("sources") ? yield* torrent.sources : []
  }
})

/** One torrent that cannot be read must not hide the others. */
const ofContent = (handle: SessionTorrent, needs: ReadonlySet<Need>) =>
  Effect.gen(function* () {
    return {
      ...(needs.has("metainfo") && { metainfo: Option.getOrUndefined(yield* handle.metainfo) }),
      ...(needs.has("files") && { files: yield* handle.files }),
      ...(needs.has("stored") && { stored: yield* handle.stored })
    }
  }).pipe(
    Effect.catchIf(
      (error) => !(error instanceof NotInSession),
      ({ message }) => Effect.succeed({ unreadable: message })
    )
  )
