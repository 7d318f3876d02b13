/**
 * What a torrent consists of, from the moment it is added to its end. Plain data, changed only by `TorrentProgram.ts`
 * and read by others.
 */
import type * as Clock from "effect/Clock"
import type * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as PieceOrder from "../assembly/PieceOrder.ts"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PeerAddress } from "../base/PeerAddress.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { Prng } from "../base/Prng.ts"
import type { Accept } from "../connect/Incoming.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type { Metainfo, MetainfoError } from "../metainfo/Metainfo.ts"
import type * as RateLimits from "../rate/RateLimits.ts"
import type * as MetadataFetch from "./MetadataFetch.ts"
import type { Sources } from "./Sources.ts"
import * as StatusReport from "./StatusReport.ts"
import type { Present } from "./TorrentChange.ts"
import type * as TorrentLife from "./TorrentLife.ts"
import * as TorrentMachine from "./TorrentMachine.ts"
import type { TorrentOptions } from "./TorrentOptions.ts"
import type { Carried, Lasting, Options, TorrentParts } from "./TorrentParts.ts"
import type { TorrentStatus } from "./TorrentStatus.ts"
import type { RemovalFailed, TorrentStopped } from "./TorrentStopped.ts"

/** Where the metainfo comes from: it is known, or it is fetched for a magnet link. */
export type Source =
  | { readonly _tag: "Metainfo"; readonly metainfo: Metainfo }
  | {
      readonly _tag: "Magnet"
      /** The name to show until the metainfo is known. */
      readonly name: string
      readonly trackers: ReadonlyArray<ReadonlyArray<string>>
      /** Fetches the metainfo, and the addresses that were found meanwhile. Ends everything it began when it ends. */
      readonly fetch: (
        options: Required<Pick<MetadataFetch.Options, "listen" | "report">>
      ) => Effect.Effect<{ readonly metainfo: Metainfo; readonly peers: ReadonlyArray<PeerAddress> }, MetainfoError>
    }

/** What a torrent is made from. */
export interface ProgramOptions extends Omit<Options, "metainfo">, Pick<TorrentOptions, "files" | "hintedPieces"> {
  readonly infoHash: InfoHash
  readonly source: Source
  readonly onEvent?: TorrentLife.Options["onEvent"]
  /** Closes the scope of the torrent, and with it the torrent. */
  readonly stop: Effect.Effect<void>
}

/** What is left of a torrent's files after it was removed. */
export interface Removed {
  /**
   * Files at its paths that were left alone, because they are somebody else's or nothing proves them to be the
   * torrent's own. Components joined by `/`. Empty if its files were not to be deleted.
   */
  readonly keptPaths: ReadonlyArray<string>
  /**
   * Whether what may be remembered of it was kept: of a read-only torrent, and if its files were to be deleted before
   * its metadata was known. Files that an earlier run left are not deleted then. They are if the torrent is added and
   * removed again once its metadata is known.
   */
  readonly isRemembered: boolean
}

/** What is asked for until the metainfo is known, and for every run. */
export interface Asked {
  files: TorrentOptions["files"]
  deadlines: ReadonlyArray<PieceOrder.Deadline>
  /** The addresses that were added last. */
  addresses: ReadonlyArray<PeerAddress>
}

/** What a torrent was like at the end of a run. */
export interface Final {
  readonly status: TorrentStatus
  readonly stored: Bitfield.Bitfield
  readonly wanted: Bitfield.Bitfield
}

/** What is left of a torrent at whose end its files were deleted, except those at `keptPaths`. */
export const afterDeletion = (
  { status, stored, wanted }: Final,
  layout: FileLayout.FileLayout,
  keptPaths: ReadonlyArray<string>
): Final => {
  const { geometry } = layout
  const kept = new Set(keptPaths)
  const isKept = (piece: PieceGeometry.PieceIndex): boolean =>
    FileLayout.pieceSpans(layout, piece).every(
      ({ file }) => FileLayout.isPadding(layout, file) || kept.has(FileLayout.pathOf(layout, file).join("/"))
    )
  const pieces = (indices: Iterable<number>) => Array.from(indices, (index) => index as PieceGeometry.PieceIndex)
  const bytesOf = (indices: Iterable<number>): number =>
    pieces(indices).reduce((sum, piece) => sum + PieceGeometry.pieceSize(geometry, piece), 0)
  const deleted = pieces(Bitfield.indices(stored)).filter((piece) => !isKept(piece))
  const left = Bitfield.copyWithout(stored, deleted)
  return {
    status: {
      ...status,
      storedPieces: left.count,
      storedBytes: bytesOf(Bitfield.indices(left)),
      missingBytes: bytesOf(Bitfield.indicesWithout(wanted, left)),
      unverifiedPieces: 0,
      unverifiedBytes: 0
    },
    stored: left,
    wanted
  }
}

/** What somebody wants who removes a torrent, and how that went. */
export interface Removal {
  /** Whether anybody who removes it wants its files deleted. Set before it has begun. */
  data: boolean
  hasBegun: boolean
  readonly done: Deferred.Deferred<Removed, RemovalFailed | TorrentStopped>
}

/**
 * A torrent that was started. A record and no closures, because an engine may have thousands of torrents that rest.
 */
export interface TorrentRecord {
  readonly options: ProgramOptions
  readonly life: TorrentLife.TorrentLife
  readonly limits: RateLimits.TorrentLimits
  readonly sources: Sources
  readonly random: Prng
  readonly clock: Clock.Clock
  /** Lasts as long as the torrent. */
  readonly scope: Scope.Scope
  readonly carried: Carried
  readonly asked: Asked
  /** What outlives a run; `undefined` until the metainfo is known. */
  lasting: Lasting | undefined
  /** The current run; `undefined` while files are checked and after the end. */
  run: TorrentParts | undefined
  /** The run that is ending: its last pieces are still being stored. */
  ending: TorrentParts | undefined
  /** The end of the last run; `undefined` before, and while files are checked again. */
  final: Final | undefined
  /** The scope of the current run; in it those of what keeps its files and of what exchanges pieces. */
  parts: Scope.Closeable | undefined
  keeping: Scope.Closeable | undefined
  exchanging: Scope.Closeable | undefined
  /** How the fetch of the metadata is going, and who takes connections meanwhile. */
  progress: MetadataFetch.Progress | undefined
  acceptMeanwhile: Accept | undefined
  /** Increases when other things are known of the torrent than before. */
  epoch: number
  removal: Removal | undefined
  /** Whether it has ended, so that it cannot be removed any more. */
  isOver: boolean
}

/** The status of the torrent. */
export const status = (self: TorrentRecord): TorrentStatus => {
  const { final, lasting } = self
  const parts = self.run ?? self.ending
  if (parts !== undefined) return StatusReport.of(parts, Monotonic.nowUnsafe(self.clock))
  if (lasting === undefined) return StatusReport.early(earlyOf(self))
  return final === undefined
    ? StatusReport.early(StatusReport.knownOf(lasting))
    : StatusReport.after(final.status, lasting)
}

/** What is known of a torrent whose metainfo is not. */
const earlyOf = ({ carried, life, limits, options: { source }, progress, sources }: TorrentRecord) => ({
  life,
  sources,
  limits,
  carried,
  name: source._tag === "Magnet" ? source.name : source.metainfo.name,
  layout: undefined,
  fetching: progress
})

/** What is stored and wanted, in the run or at the end of the last one. */
export const present = (self: TorrentRecord): Present => {
  const { epoch, final, lasting, life } = self
  const parts = self.run ?? self.ending
  if (parts !== undefined) return presentOf(self, parts)
  const pieces = lasting?.options.metainfo.layout.geometry.pieceCount ?? 0
  return {
    state: TorrentMachine.stateOf(life.machine),
    epoch,
    stored: final?.stored ?? Bitfield.make(pieces),
    suspects: undefined,
    wanted: final?.wanted ?? Bitfield.full(pieces)
  }
}

/** The same of a run. */
export const presentOf = ({ epoch, life }: TorrentRecord, parts: TorrentParts): Present => ({
  state: TorrentMachine.stateOf(life.machine),
  epoch,
  stored: parts.facts.kept,
  suspects: parts.files.suspects,
  wanted: parts.assembly.table.wanted
})
