/**
 * The content types of a torrent's files, by the extension of their names. What a name says need not be true: clients
 * must not guess another type, and must not run what a stranger wrote with the rights of the page that links to it.
 */

import * as Mime from "effect/http/Mime"
import * as Option from "effect/Option"

/** Types that `effect/http/Mime` does not know, because they are not in the standard lists: what torrents often hold. */
const others: Readonly<Record<string, string>> = {
  ass: "text/x-ssa",
  avi: "video/x-msvideo",
  cbr: "application/vnd.comicbook-rar",
  cbz: "application/vnd.comicbook+zip",
  flac: "audio/flac",
  m3u8: "application/vnd.apple.mpegurl",
  mka: "audio/matroska",
  mkv: "video/matroska",
  nfo: "text/plain",
  srt: "application/x-subrip",
  ssa: "text/x-ssa",
  wmv: "video/x-ms-wmv"
}

/** The type of bytes that nothing is known about (RFC 2046, section 4.5.1). */
export const unknown = "application/octet-stream"

/** The content type of a file with this name. Text is said to be UTF-8. */
export const of = (name: string): string => {
  const dot = name.lastIndexOf(".")
  if (dot < 0) return unknown
  const extension = name.slice(dot + 1).toLowerCase()
  const type = Object.hasOwn(others, extension)
    ? others[extension]!
    : Option.getOrElse(Mime.getType(`x.${extension}`), () => unknown)
  return type.startsWith("text/") ? `${type}; charset=utf-8` : type
}

/** Whether a browser may run programs in a document of this type. */
export const isActive = (type: string): boolean => /^(?:text\/html|[\w.-]+\/(?:[\w.-]+\+)?(?:xhtml|xml))\b/.test(type)
