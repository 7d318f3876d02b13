/**
 * The URLs of a web seed: of each file of a torrent (BEP 19), or of each piece (BEP 17).
 *
 * BEP 19: the URL of a web seed is that of the file, or of the folder that has it or the torrent's folder. It ends in a
 * slash if it is a folder. The name of the torrent and the path of the file follow, each component escaped. A query
 * stays behind the path.
 *
 * BEP 17: the parameters `info_hash`, `piece` and `ranges` follow the query.
 */
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"

/** What a web seed serves: whole files by their paths (BEP 19), or pieces by their indices (BEP 17). */
export type Kind = "files" | "pieces"

/** A web seed of a torrent. */
export interface SeedUrl {
  readonly kind: Kind
  readonly url: URL
  /** Whether the user named it, so that it may lead anywhere. Otherwise a stranger did, who made the torrent. */
  readonly isTrusted: boolean
}

/**
 * The name of a web seed for events, logs and users, without a user, a password and a query, which may be secrets.
 */
export const nameOf = ({ url }: SeedUrl): string => `web seed ${url.protocol}//${url.host}${url.pathname}`

/**
 * Whether a component can be in a URL: a dot or two would be another folder, and a lone surrogate has no encoding.
 */
const isNameable = (component: string): boolean =>
  component !== "" && component !== "." && component !== ".." && component.isWellFormed()

/** Escapes a component of a path. Only letters, digits and `-_.~` are safe in every part of a URL (RFC 3986). */
const escape = (component: string): string =>
  encodeURIComponent(component).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)

/** The path of a file as the torrent has it. The first component is the name of the torrent. */
const pathOf = (layout: FileLayout.FileLayout, file: number): ReadonlyArray<string> => {
  const { original, path } = FileLayout.namesOf(layout, file)
  return original ?? path
}

/** Whether the torrent is a single file, and no folder. */
const isSingle = (layout: FileLayout.FileLayout): boolean =>
  layout.fileCount === 1 && FileLayout.pathOf(layout, 0).length === 1

/** Whether the path of a file can be in a URL. */
export const hasUrl = (layout: FileLayout.FileLayout, file: number): boolean => pathOf(layout, file).every(isNameable)

/** The URL of a file that has one (`hasUrl`). */
export const ofFile = (seed: URL, layout: FileLayout.FileLayout, file: number): URL => {
  const url = new URL(seed)
  url.hash = ""
  const isFolder = seed.pathname.endsWith("/")
  if (isSingle(layout) && !isFolder) return url
  url.pathname = seed.pathname + (isFolder ? "" : "/") + pathOf(layout, file).map(escape).join("/")
  return url
}

/** The URL of bytes `first` to `last` of a piece, both included. */
export const ofPiece = (seed: URL, infoHash: InfoHash, piece: number, first: number, last: number): URL => {
  const url = new URL(seed)
  url.hash = ""
  // Each byte is escaped, because it is no text.
  const hash = Array.from(infoHash, (byte) => `%${Bytes.toHex(Uint8Array.of(byte)).toUpperCase()}`).join("")
  const asked = `info_hash=${hash}&piece=${piece}&ranges=${first}-${last}`
  url.search = url.search === "" ? `?${asked}` : `${url.search}&${asked}`
  return url
}
