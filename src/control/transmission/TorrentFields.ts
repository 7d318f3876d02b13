/**
 * The fields of a torrent in the Transmission RPC (version 17), and what each of them is made from. Pure.
 *
 * Sizes are in bytes and rates in bytes a second, except limits, which are in kB of 1,000 bytes; dates are seconds since
 * 1970, or 0. What is not known is 0; docs/transmission.md lists those fields.
 */
import * as Base64 from "effect/encoding/Base64"
import * as InfoHash from "../../base/InfoHash.ts"
import * as Size from "../../base/Size.ts"
import * as FileLayout from "../../metainfo/FileLayout.ts"
import * as Magnet from "../../metainfo/Magnet.ts"
import * as ContentType from "../../web/ContentType.ts"
import * as PeerFields from "./PeerFields.ts"
import type { Need, TorrentView } from "./TorrentView.ts"
import * as TrackerFields from "./TrackerFields.ts"

/** A field: what it needs, and its value in JSON. */
export interface Field {
  readonly needs: ReadonlyArray<Need>
  readonly of: (view: TorrentView) => unknown
}

const field = (of: Field["of"], ...needs: ReadonlyArray<Need>): Field => ({ of, needs })

const seconds = (millis: number | undefined): number => (millis === undefined ? 0 : Math.floor(millis / 1_000))

/** The bytes in a kB of a limit. */
export const kilobyte = 1_000

/** The most connections of a torrent that has no limit of its own (`TorrentOptions.maxConnections`). */
export const defaultPeerLimit = 50

const limitOf = (limit: Size.Size | undefined): number => Math.round((Size.bytesOf(limit) ?? 0) / kilobyte)

const missing = ({ status }: TorrentView): number => status.progress?.missingBytes ?? 0

const wanted = ({ status }: TorrentView): number => status.progress?.wantedBytes ?? 0

const total = ({ status }: TorrentView): number => status.progress?.totalBytes ?? 0

/** Bytes that are verified and stored. Without the engine, those of wanted pieces. */
const stored = (view: TorrentView): number =>
  view.engine === undefined || view.engine.state._tag === "Checking"
    ? wanted(view) - missing(view)
    : view.engine.storedBytes

/** The numbers of states. */
const codes = { stopped: 0, checking: 2, waitsToDownload: 3, downloading: 4, waitsToSeed: 5, seeding: 6 } as const

/** What it does, as a number. */
const statusOf = (view: TorrentView): number => {
  const { state } = view.status
  // What is moved goes on afterwards.
  if (state._tag === "Queued" || state._tag === "Moving") {
    return view.status.progress?.missingBytes === 0 ? codes.waitsToSeed : codes.waitsToDownload
  }
  if (state._tag !== "Active") return codes.stopped
  switch (state.state._tag) {
    case "Checking":
      return codes.checking
    case "Complete":
      return codes.seeding
    case "Paused":
    case "Stopped":
    case "Failed":
      return codes.stopped
    default:
      return codes.downloading
  }
}

/** What is wrong: nothing (0), a tracker's warning (1) or error (2), or something on this machine (3). */
const errorOf = (view: TorrentView): { readonly error: number; readonly errorString: string } => {
  const { state } = view.status
  const local =
    state._tag === "Failed"
      ? state.message
      : state._tag !== "Active"
        ? view.unreadable
        : state.state._tag === "StorageFailing" || state.state._tag === "Failed"
          ? state.state.error.message
          : state.state._tag === "FilesMissing"
            ? "Its files are missing. It goes on when they are back."
            : view.unreadable
  if (local !== undefined) return { error: 3, errorString: local }
  const failure = TrackerFields.failure(view)
  if (failure !== undefined) return { error: 2, errorString: failure }
  const warning = TrackerFields.warning(view)
  return warning === undefined ? { error: 0, errorString: "" } : { error: 1, errorString: warning }
}

/** Seconds until it is complete, or its ratio is reached; -1 if that has no meaning, -2 if it is not known. */
const etaOf = (view: TorrentView): number => {
  const { downloadBytesPerSecond, options, statistics, uploadBytesPerSecond } = view.status
  const status = statusOf(view)
  if (view.status.progress === undefined) return -2
  if (status === codes.downloading) {
    return downloadBytesPerSecond > 0 ? Math.ceil(missing(view) / downloadBytesPerSecond) : -2
  }
  const ratio = options.goal?.ratio
  if (status !== codes.seeding || ratio === undefined) return -1
  const left = Math.max(0, ratio * wanted(view) - statistics.uploadedBytes)
  return uploadBytesPerSecond > 0 ? Math.ceil(left / uploadBytesPerSecond) : -2
}

/** Whether a path is absolute, on any system. */
export const isAbsolute = (path: string): boolean => /^(?:[/\\]|[A-Za-z]:[/\\])/.test(path)

/** The folder that it is stored in. */
export const folderOf = ({ directory, status }: Pick<TorrentView, "directory" | "status">): string => {
  const { folder } = status.options
  if (folder === undefined) return directory
  return isAbsolute(folder) ? folder : `${directory.replace(/\/$/, "")}/${folder}`
}

const magnetOf = ({ metainfo, status }: TorrentView): string =>
  Magnet.format({
    infoHash: status.infoHash,
    infoHashV2: undefined,
    name: status.name,
    trackers: metainfo?.trackers.flat() ?? [],
    webSeeds: metainfo?.webSeeds ?? [],
    exactSources: [],
    acceptableSources: [],
    peers: [],
    select: undefined
  })

/** How a file is wanted: low (-1), normal (0) or high (1). */
const priorityOf = (priority: string): number => (priority === "high" ? 1 : 0)

/** The pieces with bytes of each file: the first, and the one after the last. */
const filesOf = ({ files, metainfo }: TorrentView) =>
  files.map(({ index, length, path, storedBytes }) => {
    const { end, first } = metainfo === undefined ? { first: 0, end: 0 } : FileLayout.filePieces(metainfo.layout, index)
    return { name: path, length, bytesCompleted: storedBytes, beginPiece: first, endPiece: end }
  })

/** The type of the file with most bytes. */
const typeOf = ({ files }: TorrentView): string => {
  const largest = files.toSorted((one, other) => other.length - one.length)[0]
  return largest === undefined ? ContentType.unknown : ContentType.of(largest.path).replace(/;.*$/, "")
}

/** Bytes that are missing here and that a peer has: at least those of the peer with most of them. */
const desiredAvailable = (view: TorrentView): number => {
  const { metainfo, peers } = view
  const most = peers.reduce((found, { interestingPieces }) => Math.max(found, interestingPieces), 0)
  return Math.min(missing(view), most * (metainfo?.layout.geometry.pieceLength ?? 0))
}

const ratioOf = ({ part, whole }: { readonly part: number; readonly whole: number }): number =>
  whole === 0 ? 0 : part / whole

/** By name. A name of Transmission that is not here is left out of an answer, as one that nobody knows. */
export const fields: ReadonlyMap<string, Field> = new Map(
  Object.entries<Field>({
    activityDate: field(({ now, transferredMillisAgo: ago }) => (ago === undefined ? 0 : seconds(now - ago))),
    addedDate: field(({ status }) => seconds(status.addedAtMillis)),
    bandwidthPriority: field(() => 0),
    comment: field(({ metainfo }) => metainfo?.comment ?? "", "metainfo"),
    corruptEver: field(
      ({ engine, metainfo }) => (engine?.rejectedPieces ?? 0) * (metainfo?.layout.geometry.pieceLength ?? 0),
      "engine",
      "metainfo"
    ),
    creator: field(({ metainfo }) => metainfo?.createdBy ?? "", "metainfo"),
    dateCreated: field(({ metainfo }) => metainfo?.creationDate ?? 0, "metainfo"),
    desiredAvailable: field(desiredAvailable, "peers", "metainfo"),
    doneDate: field(({ status }) => seconds(status.completedAtMillis)),
    downloadDir: field(folderOf),
    downloadedEver: field(({ status }) => status.statistics.downloadedBytes),
    downloadLimit: field(({ status }) => limitOf(status.options.limits?.downloadBytesPerSecond)),
    downloadLimited: field(({ status }) => status.options.limits?.downloadBytesPerSecond !== undefined),
    editDate: field(() => 0),
    error: field((view) => errorOf(view).error, "sources"),
    errorString: field((view) => errorOf(view).errorString, "sources"),
    eta: field(etaOf),
    etaIdle: field(() => -1),
    "file-count": field(({ files }) => files.length, "files"),
    fileCount: field(({ files }) => files.length, "files"),
    files: field(filesOf, "files", "metainfo"),
    fileStats: field(
      ({ files }) =>
        files.map(({ priority, storedBytes }) => ({
          bytesCompleted: storedBytes,
          wanted: priority !== "skip",
          priority: priorityOf(priority)
        })),
      "files"
    ),
    group: field(() => ""),
    hashString: field(({ status }) => InfoHash.toHex(status.infoHash)),
    haveUnchecked: field(() => 0),
    haveValid: field(stored, "engine"),
    honorsSessionLimits: field(() => true),
    id: field(({ id }) => id),
    isFinished: field(({ status }) => status.state._tag === "GoalReached"),
    isPrivate: field(({ metainfo }) => metainfo?.isPrivate ?? false, "metainfo"),
    isStalled: field(() => false),
    labels: field(({ status }) => status.labels),
    leftUntilDone: field(missing),
    magnetLink: field(magnetOf, "metainfo"),
    manualAnnounceTime: field(() => 0),
    maxConnectedPeers: field(({ status }) => status.options.maxConnections ?? defaultPeerLimit),
    metadataPercentComplete: field(({ status }) => (status.progress === undefined ? 0 : 1)),
    name: field(({ status }) => status.name),
    "peer-limit": field(({ status }) => status.options.maxConnections ?? defaultPeerLimit),
    peers: field(PeerFields.list, "peers", "engine"),
    peersConnected: field(({ status }) => status.connectedPeers),
    peersFrom: field(PeerFields.origins, "peers"),
    peersGettingFromUs: field(PeerFields.gettingFromUs, "peers"),
    peersSendingToUs: field(PeerFields.sendingToUs, "peers"),
    percentComplete: field((view) => ratioOf({ part: stored(view), whole: total(view) }), "engine"),
    percentDone: field((view) => ratioOf({ part: wanted(view) - missing(view), whole: wanted(view) })),
    pieces: field(({ stored: bits }) => Base64.encode(bits.bytes), "stored"),
    pieceCount: field(({ metainfo }) => metainfo?.layout.geometry.pieceCount ?? 0, "metainfo"),
    pieceSize: field(({ metainfo }) => metainfo?.layout.geometry.pieceLength ?? 0, "metainfo"),
    priorities: field(({ files }) => files.map(({ priority }) => priorityOf(priority)), "files"),
    "primary-mime-type": field(typeOf, "files"),
    queuePosition: field(({ place }) => place),
    rateDownload: field(({ status }) => Math.round(status.downloadBytesPerSecond)),
    rateUpload: field(({ status }) => Math.round(status.uploadBytesPerSecond)),
    recheckProgress: field(() => 0),
    secondsDownloading: field(() => 0),
    secondsSeeding: field(({ status }) => seconds(status.statistics.seedingMillis)),
    seedIdleLimit: field(() => 0),
    // Never because it is idle.
    seedIdleMode: field(() => 2),
    seedRatioLimit: field(({ status }) => status.options.goal?.ratio ?? 0),
    seedRatioMode: field(({ status: { options } }) =>
      options.goal === undefined ? 0 : options.goal.ratio === undefined ? 2 : 1
    ),
    sequentialDownload: field(({ status }) => status.options.order === "sequential"),
    sizeWhenDone: field(wanted),
    startDate: field(() => 0),
    status: field(statusOf),
    torrentFile: field(() => ""),
    totalSize: field(total),
    trackers: field(TrackerFields.list, "sources", "metainfo"),
    trackerList: field(TrackerFields.text, "sources", "metainfo"),
    trackerStats: field(TrackerFields.statistics, "sources", "metainfo"),
    uploadedEver: field(({ status }) => status.statistics.uploadedBytes),
    uploadLimit: field(({ status }) => limitOf(status.options.limits?.uploadBytesPerSecond)),
    uploadLimited: field(({ status }) => status.options.limits?.uploadBytesPerSecond !== undefined),
    // Not available while it is not known how much is wanted.
    uploadRatio: field((view) => (wanted(view) === 0 ? -1 : view.status.shareRatio)),
    wanted: field(({ files }) => files.map(({ priority }) => (priority === "skip" ? 0 : 1)), "files"),
    webseeds: field(({ metainfo }) => metainfo?.webSeeds ?? [], "metainfo"),
    webseedsSendingToUs: field(({ engine }) => engine?.webSeeds ?? 0, "engine")
  })
)

/** The fields of those names that there are. */
export const known = (names: ReadonlyArray<string>): ReadonlyMap<string, Field> =>
  new Map(
    [...new Set(names)].flatMap((name) => {
      const found = fields.get(name)
      return found === undefined ? [] : [[name, found] as const]
    })
  )

/** What must be read for some fields. */
export const needsOf = (asked: ReadonlyMap<string, Field>): ReadonlySet<Need> =>
  new Set([...asked.values()].flatMap(({ needs }) => needs))

/** The fields of a torrent as an object. */
export const toObject = (asked: ReadonlyMap<string, Field>, view: TorrentView): Readonly<Record<string, unknown>> =>
  Object.fromEntries(Array.from(asked, ([name, { of }]) => [name, of(view)]))

/** The fields of a torrent in their order, without names. */
export const toRow = (asked: ReadonlyMap<string, Field>, view: TorrentView): ReadonlyArray<unknown> =>
  Array.from(asked.values(), ({ of }) => of(view))
