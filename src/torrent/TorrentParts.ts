/**
 * What a torrent consists of: its options, what outlives a run, and the parts of one run.
 */
import type { Assembly } from "../assembly/Assembly.ts"
import type { Bitfield } from "../base/Bitfield.ts"
import type * as Gate from "../base/Gate.ts"
import type { PeerId } from "../base/PeerId.ts"
import type { Prng } from "../base/Prng.ts"
import type { Tally } from "../base/Tally.ts"
import type { Ticker } from "../base/Ticker.ts"
import type { Turn } from "../base/Turn.ts"
import type { Callers } from "../connect/Callers.ts"
import type { OwnAddresses } from "../connect/OwnAddresses.ts"
import type { Places } from "../connect/Places.ts"
import type { PeerSource } from "../discovery/PeerSource.ts"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { ListeningPort } from "../network/ListeningPort.ts"
import type { OurNode } from "../peer/DhtContact.ts"
import type { Upload } from "../peer/Upload.ts"
import type * as RateLimits from "../rate/RateLimits.ts"
import type { ReadCache } from "../storage/ReadCache.ts"
import type { TorrentStorage } from "../storage/Storage.ts"
import type * as PieceSwarm from "../swarm/PieceSwarm.ts"
import type { Readers } from "./Readers.ts"
import type * as Selection from "./Selection.ts"
import type { Sources } from "./Sources.ts"
import type { TorrentFacts } from "./TorrentFacts.ts"
import type { TorrentFiles } from "./TorrentFiles.ts"
import type { TorrentLife } from "./TorrentLife.ts"
import type { TorrentOptions } from "./TorrentOptions.ts"

/** What a torrent is made from whose metainfo is known. */
export interface Options extends Omit<TorrentOptions, "files" | "hintedPieces"> {
  readonly metainfo: Metainfo
  readonly peerId: PeerId
  /** Our node of the DHT (BEP 5); default: there is none. A private torrent has none either. */
  readonly dht?: OurNode | undefined
  /** The port at which peers can connect to us. */
  readonly port: ListeningPort
  readonly sources: ReadonlyArray<PeerSource<unknown>>
  /** The limits of all torrents of the engine together. */
  readonly engineLimits: RateLimits.EngineLimits
  /** What is done every second for all torrents of the engine. */
  readonly ticker: Ticker
  /** The peers that called the engine without a handshake. */
  readonly callers: Callers
  /** Our own addresses, which no torrent dials. */
  readonly own: OwnAddresses
  /** The places that all torrents of the engine share. */
  readonly places: Places
  /** The blocks that all torrents of the engine keep in memory for uploads. */
  readonly readCache: ReadCache
  /** Whose turn it is to verify hinted pieces in the background, among all torrents of the engine. */
  readonly background: Turn
  /** What is counted for all torrents of the engine; absent: nothing is. */
  readonly tally?: Tally | undefined
  /** Whether the digest and the write of each piece have spans; default false. */
  readonly tracesPieces?: boolean | undefined
}

/** What was counted in runs that have ended. */
export interface Carried {
  downloadedBytes: number
  wastedBytes: number
  uploadedBytes: number
}

/** What outlives a run. */
export interface Lasting {
  readonly options: Options
  readonly life: TorrentLife
  readonly selection: Selection.Selection
  readonly readers: Readers
  readonly sources: Sources
  readonly limits: RateLimits.TorrentLimits
  readonly random: Prng
  readonly carried: Carried
  /** Pieces that another client says it has stored, and that no run has verified. Runs remove pieces from it. */
  readonly hint: Bitfield | undefined
}

/** The parts of one run. */
export interface TorrentParts {
  readonly lasting: Lasting
  readonly storage: TorrentStorage
  readonly assembly: Assembly
  readonly swarm: PieceSwarm.PieceSwarm
  readonly facts: TorrentFacts
  readonly files: TorrentFiles
  readonly upload: Upload
  /** The selection that was checked. Another one may have been made since. */
  readonly prepared: Selection.Selection["wanted"]
  /** Open once the selection applies that was made since. */
  readonly isCaughtUp: Gate.Gate
  /** What a change of the selection has to change. */
  readonly selected: Selection.Running
  /** Bytes that were stored before the run. */
  readonly resumedBytes: number
}
