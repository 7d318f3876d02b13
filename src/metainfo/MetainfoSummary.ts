/**
 * What another program wants to know of a torrent: all that its metainfo says, except the digests of its pieces.
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../base/InfoHash.ts"
import { PeerAddress } from "../base/PeerAddress.ts"
import type { Metainfo } from "./Metainfo.ts"

/** The schema of a summary. Sizes are in bytes. What the torrent does not say is `undefined`, and `null` in JSON. */
export const MetainfoSummary = Schema.Struct({
  name: Schema.String,
  infoHash: InfoHash,
  totalBytes: Schema.Natural,
  pieceLength: Schema.Natural,
  pieces: Schema.Natural,
  /** Whether peers may come from the trackers only (BEP 27). */
  isPrivate: Schema.Boolean,
  /** Tiers of tracker URLs, best first (BEP 12). */
  trackers: Schema.Array(Schema.Array(Schema.String)),
  /** URLs of web seeds (BEP 19). */
  webSeeds: Schema.Array(Schema.String),
  /** URLs of web seeds that serve pieces (BEP 17). */
  httpSeeds: Schema.Array(Schema.String),
  /** Nodes of the DHT (BEP 5). */
  nodes: Schema.Array(PeerAddress),
  comment: Schema.UndefinedOr(Schema.String),
  /** The program that made the torrent. */
  createdBy: Schema.UndefinedOr(Schema.String),
  /** When the torrent was made: an ISO 8601 text in JSON. */
  creationDate: Schema.UndefinedOr(Schema.Date),
  /** The files in their order, without padding (BEP 47). `path` begins with the name, components joined by `/`. */
  files: Schema.Array(Schema.Struct({ path: Schema.String, length: Schema.Natural }))
})

/** A summary of a torrent. */
export type MetainfoSummary = typeof MetainfoSummary.Type

/** Returns the date of a time in seconds since 1970; `undefined` if there is none, or if it is too far away. */
export const dateOf = (seconds: number | undefined): Date | undefined => {
  if (seconds === undefined) return undefined
  const date = new Date(seconds * 1_000)
  return Number.isNaN(date.getTime()) ? undefined : date
}

/** Summarizes a torrent. The summary has an object for each file, so it is large if the torrent has many. */
export const of = (metainfo: Metainfo): MetainfoSummary => {
  const { files, geometry } = metainfo.layout
  return {
    name: metainfo.name,
    infoHash: metainfo.infoHash,
    totalBytes: geometry.totalLength,
    pieceLength: geometry.pieceLength,
    pieces: geometry.pieceCount,
    isPrivate: metainfo.isPrivate,
    trackers: metainfo.trackers,
    webSeeds: metainfo.webSeeds,
    httpSeeds: metainfo.httpSeeds,
    nodes: metainfo.nodes,
    comment: metainfo.comment,
    createdBy: metainfo.createdBy,
    creationDate: dateOf(metainfo.creationDate),
    files: files.filter(({ padding }) => !padding).map(({ length, path }) => ({ path: path.join("/"), length }))
  }
}
