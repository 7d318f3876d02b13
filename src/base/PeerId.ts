/**
 * Peer ids: the 20 bytes by which a client names itself in handshakes and announces (BEP 3, BEP 20).
 *
 * They are claims. Addresses, not peer ids, are banned; an id only serves to notice a connection to ourselves, to
 * distinguish two connections of one client, and to show a readable name.
 */
import type * as Brand from "effect/Brand"
import * as Version from "./Version.ts"

/** A peer id, 20 bytes. */
export type PeerId = Uint8Array & Brand.Brand<"piecewise/PeerId">

/** Bytes in a peer id. */
export const length = 20

/** One character for each part of the version: a digit, or a letter from `A` for 10 on. */
const versionDigits = Version.version.split(".").map((part) => Number(part).toString(36).toUpperCase())

/** The beginning of every id of ours: Azureus style (BEP 20), client `PW`, four parts of the version (`-PW0100-`). */
export const prefix = `-PW${versionDigits.join("")}0-`

/**
 * The characters that need no escape in a tracker's URL (RFC 3986 section 2.3); 64, so six random bits choose one.
 */
const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

/**
 * A new id of ours: the prefix and 12 characters chosen by `random`, which fills the array it is passed.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { PeerId } from "piecewise"
 *
 * const peerId = PeerId.make((bytes) => crypto.getRandomValues(bytes))
 * assert.equal(peerId.length, PeerId.length)
 * assert.match(PeerId.client(peerId), /^piecewise \d/)
 * ```
 */
export const make = (random: (bytes: Uint8Array<ArrayBuffer>) => void): PeerId => {
  const bytes = new Uint8Array(length)
  random(bytes)
  for (let index = 0; index < length; index++) {
    const text = index < prefix.length ? prefix : unreserved
    bytes[index] = text.charCodeAt(index < prefix.length ? index : bytes[index]! & 63)
  }
  return bytes as Uint8Array as PeerId
}

/** Types 20 bytes as a peer id, the same array and no copy; `undefined` for another length. */
export const fromBytes = (bytes: Uint8Array): PeerId | undefined =>
  bytes.length === length ? (bytes as PeerId) : undefined

/** Names for the two letters of Azureus style ids. */
const azureusNames = new Map([
  ["AZ", "Vuze"],
  ["BI", "BiglyBT"],
  ["BT", "BitTorrent"],
  ["DE", "Deluge"],
  ["FD", "Free Download Manager"],
  ["GT", "anacrolix/torrent"],
  ["KT", "KTorrent"],
  ["LT", "libtorrent"],
  ["PW", "piecewise"],
  ["TR", "Transmission"],
  ["TX", "Tixati"],
  ["UM", "µTorrent Mac"],
  ["UT", "µTorrent"],
  ["UW", "µTorrent Web"],
  ["WD", "WebTorrent Desktop"],
  ["WW", "WebTorrent"],
  ["lt", "rTorrent"],
  ["qB", "qBittorrent"],
  ["rQ", "rqbit"]
])

/**
 * A short readable name of the client that made an id, such as `qBittorrent 4.6.5`; for an unknown client its letters,
 * else `unknown client`. For logs: printable for any id, and no evidence.
 */
export const client = (self: PeerId): string => {
  let text = ""
  for (const byte of self) text += String.fromCharCode(byte)
  const azureus = /^-([A-Za-z~]{2}|[A-Za-z]\d|\d[A-Za-z])([0-9A-Za-z]{4})-/.exec(text)
  if (azureus !== null)
    return `${azureusNames.get(azureus[1]!) ?? azureus[1]!} ${azureusVersion(azureus[2]!)}`.trimEnd()
  // Mainline's style: dashes between numbers, so that a part may have two digits. aria2 puts its own letters first.
  const dashed = /^(?:(A2)-|M)(\d{1,3})-(\d{1,3})-(\d{1,3})-/.exec(text)
  if (dashed !== null) return `${dashed[1] === undefined ? "BitTorrent" : "aria2"} ${dashed.slice(2, 5).join(".")}`
  return "unknown client"
}

/** Four characters as version parts, `A` for 10 and so on; up to a build's lower-case letter, without a last zero. */
const azureusVersion = (text: string): string => {
  const parts = /^[0-9A-Z]*/.exec(text)![0]
  const shown = parts.length === 4 && parts.endsWith("0") ? parts.slice(0, 3) : parts
  return Array.from(shown, (part) => Number.parseInt(part, 36)).join(".")
}
