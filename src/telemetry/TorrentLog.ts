/**
 * What is logged about a torrent: its events as entries of a log, each with a level, a constant message, and facts as
 * annotations. Pure: events in, entries out. docs/telemetry.md lists them.
 *
 * Some events are caused by peers, which may be hostile. So of each kind of event a few are logged within some seconds,
 * and the next one that is logged says how many were left out.
 */
import * as Cause from "effect/Cause"
import * as LogLevel from "effect/LogLevel"
import * as PeerAddress from "../base/PeerAddress.ts"
import * as SourceUrl from "../base/SourceUrl.ts"
import type { TorrentEvent } from "../torrent/TorrentEvent.ts"

/** An entry of a log. */
export interface Entry {
  readonly level: LogLevel.Severity
  /** The same for all entries of its kind, so that they can be searched and counted. */
  readonly message: string
  readonly annotations: Readonly<Record<string, string | number>>
  readonly cause?: Cause.Cause<never> | undefined
}

/** What is remembered of one torrent. */
export interface TorrentLog {
  /** By the kind of event, once there was one that is logged. */
  readonly bursts: Map<TorrentEvent["_tag"], Burst>
  /** How often each source has failed since it answered. */
  readonly failures: Map<string, number>
}

interface Burst {
  /** When it began, in milliseconds. */
  since: number
  logged: number
  leftOut: number
}

/** How many events of a kind are logged within `burstMillis`. */
export const mostInBurst = 20

/** Milliseconds after which events of a kind are logged again. */
export const burstMillis = 10_000

/** A source that failed so many times in a row is not having a passing trouble. */
export const lastingFailures = 4

/** Makes it for a torrent of which nothing happened. */
export const make = (): TorrentLog => ({ bursts: new Map(), failures: new Map() })

/** The level of each kind of event; `undefined` for those that are never logged, because they belong to no trouble. */
export const levels: Readonly<Record<TorrentEvent["_tag"], LogLevel.Severity | undefined>> = {
  MetadataFetched: "Info",
  Checking: "Debug",
  Started: "Debug",
  PeerConnected: "Debug",
  PeerDisconnected: "Debug",
  PeerUnreachable: "Debug",
  PeerBanned: "Debug",
  PeersHungUp: "Debug",
  PieceStored: undefined,
  PieceRejected: "Warn",
  PieceDamaged: "Warn",
  StorageFailed: "Warn",
  StorageRecovered: "Info",
  ReadFailed: "Warn",
  ReadRecovered: "Info",
  SourceAnswered: "Debug",
  AddressesRefused: "Debug",
  SourceFailed: "Debug",
  TrackersRefused: "Warn",
  ResumeFailed: "Warn",
  FilesMissing: "Warn",
  FilesChanged: "Debug",
  PiecesLost: "Warn",
  FlushFailed: "Warn",
  Flushing: "Debug",
  Completed: "Info",
  SeedingEnded: "Info",
  Paused: "Info",
  Resumed: "Info",
  Failed: "Error"
}

/** The message of each kind of event that is logged. */
export const messages: Readonly<Record<Exclude<TorrentEvent["_tag"], "PieceStored">, string>> = {
  MetadataFetched: "the metadata of a magnet link is known",
  Checking: "stored pieces are being verified",
  Started: "the torrent runs",
  PeerConnected: "a peer is connected",
  PeerDisconnected: "a peer is gone",
  PeerUnreachable: "a peer cannot be reached",
  PeerBanned: "a peer is banned",
  PeersHungUp: "peers close connections before the handshake",
  PieceRejected: "a piece has the wrong digest",
  PieceDamaged: "a piece is damaged, and no other peer has it",
  StorageFailed: "a piece cannot be written, and will be written again",
  StorageRecovered: "the storage works again",
  ReadFailed: "a stored piece cannot be read",
  ReadRecovered: "a stored piece can be read again",
  SourceAnswered: "a source of peers answered",
  AddressesRefused: "addresses of peers are not used",
  SourceFailed: "a source of peers failed",
  TrackersRefused: "every tracker refuses the torrent",
  ResumeFailed: "resume data cannot be read or written",
  FilesMissing: "every file with stored bytes is gone",
  FilesChanged: "somebody changed files",
  PiecesLost: "stored pieces are gone or wrong",
  FlushFailed: "files cannot be flushed, and will be flushed again",
  Flushing: "the last pieces are being flushed",
  Completed: "the torrent is complete",
  SeedingEnded: "the seeding goal is reached",
  Paused: "the torrent is paused",
  Resumed: "the torrent goes on",
  Failed: "the torrent failed"
}

/** The message for a source that goes on failing (`lastingFailures`), at level `Warn`. */
export const lastingMessage = "a source of peers goes on failing"

/** The messages of what is logged without an event, at level `Info`. */
export const added = "a torrent is added"
export const removed = "a torrent is removed"

/** Whether `read` has to be called for an event: it is logged at `minimum`, or counts for what is logged later. */
export const isOfInterest = ({ _tag }: TorrentEvent, minimum: LogLevel.LogLevel): boolean => {
  if (_tag === "SourceFailed" || _tag === "SourceAnswered") return LogLevel.isLessThanOrEqualTo(minimum, "Warn")
  const level = levels[_tag]
  return level !== undefined && LogLevel.isLessThanOrEqualTo(minimum, level)
}

/**
 * Reads an event. Returns the entry for it; `undefined` if it is not logged at `minimum`, or if too many of its kind
 * were logged lately. `now` returns milliseconds.
 */
export const read = (
  self: TorrentLog,
  event: TorrentEvent,
  minimum: LogLevel.LogLevel,
  now: () => number
): Entry | undefined => {
  const isLasting = noteSource(self, event)
  const level = isLasting ? "Warn" : levels[event._tag]
  if (event._tag === "PieceStored" || level === undefined || LogLevel.isGreaterThan(minimum, level)) return undefined
  // Its progress is in the status.
  if (event._tag === "Checking" && event.checkedPieces > 0) return undefined
  const leftOut = take(self, event._tag, now())
  if (leftOut === undefined) return undefined
  return {
    level,
    message: isLasting ? lastingMessage : messages[event._tag],
    annotations: leftOut === 0 ? factsOf(event) : { ...factsOf(event), leftOut },
    ...(event._tag === "Failed" &&
      event.error._tag === "piecewise/TorrentDefect" && { cause: Cause.die(event.error.cause) })
  }
}

/** Counts failures of a source. Returns whether it has just failed too often in a row. */
const noteSource = ({ failures }: TorrentLog, event: TorrentEvent): boolean => {
  if (event._tag === "SourceAnswered") failures.delete(event.source)
  if (event._tag !== "SourceFailed") return false
  const count = (failures.get(event.source) ?? 0) + 1
  failures.set(event.source, count)
  return count === lastingFailures
}

/** Returns how many events of the kind were left out since one was logged; `undefined` to leave this one out too. */
const take = ({ bursts }: TorrentLog, kind: TorrentEvent["_tag"], now: number): number | undefined => {
  const burst = bursts.get(kind)
  if (burst === undefined || now - burst.since >= burstMillis) {
    bursts.set(kind, { since: now, logged: 1, leftOut: 0 })
    return burst?.leftOut ?? 0
  }
  if (burst.logged === mostInBurst) {
    burst.leftOut++
    return undefined
  }
  burst.logged++
  return 0
}

type Facts = Entry["annotations"]

/** How many addresses or paths an entry names. */
const mostNamed = 10

const list = (texts: ReadonlyArray<string>): string =>
  texts.length <= mostNamed
    ? texts.join(", ")
    : `${texts.slice(0, mostNamed).join(", ")} and ${texts.length - mostNamed} more`

/** A tracker has a URL, of which only the host may be shown. Other sources have a name. */
const sourceOf = (source: string): Facts => {
  const place = SourceUrl.placeOf(source)
  if (place === undefined) return { source }
  return { source: place.port === undefined ? place.host : `${place.host}:${place.port}` }
}

const failure = (source: string, why: string): Facts => ({
  ...sourceOf(source),
  why: SourceUrl.withoutSecrets(why, source)
})

const atPeer = ({ address }: { readonly address: PeerAddress.PeerAddress }): Facts => ({
  address: PeerAddress.format(address)
})

const factsOf = (event: Exclude<TorrentEvent, { _tag: "PieceStored" }>): Facts => {
  switch (event._tag) {
    case "MetadataFetched":
      return { name: event.name, totalBytes: event.totalBytes }
    case "Checking":
      return { totalPieces: event.totalPieces }
    case "Started":
      return {
        storedPieces: event.storedPieces,
        missingPieces: event.missingPieces,
        totalPieces: event.totalPieces
      }
    case "PeerConnected":
      return atPeer(event)
    case "PeerDisconnected":
    case "PeerUnreachable":
    case "PeerBanned":
      return { ...atPeer(event), why: event.why }
    case "PeersHungUp":
      return { peers: event.peers, encryption: event.encryption }
    case "PieceRejected":
      return { piece: event.piece, peers: list(event.contributors.map(PeerAddress.format)) }
    case "PieceDamaged":
      return { piece: event.piece, ...(event.address && { address: PeerAddress.format(event.address) }) }
    case "StorageFailed":
    case "ReadFailed":
      return { piece: event.piece, error: event.error.message }
    case "ReadRecovered":
      return { piece: event.piece }
    case "SourceAnswered":
      return { ...sourceOf(event.source), peers: event.peers }
    case "AddressesRefused":
      return { ...failure(event.source, event.why), addresses: event.addresses }
    case "SourceFailed":
      return failure(event.source, event.why)
    case "TrackersRefused":
      return { ...failure(event.source, event.why), trackers: event.trackers }
    case "ResumeFailed":
      return { why: event.why }
    case "FilesMissing":
      return { files: event.missingFiles, paths: list(event.paths) }
    case "FilesChanged":
      return { paths: list(event.paths) }
    case "PiecesLost":
      return { pieces: event.pieces.length, paths: list(event.paths) }
    case "FlushFailed":
    case "Failed":
      return { error: event.error.message }
    case "SeedingEnded":
      return { reached: event.reached }
    case "StorageRecovered":
    case "Flushing":
    case "Completed":
    case "Paused":
    case "Resumed":
      return {}
  }
}
