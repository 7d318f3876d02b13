/**
 * Judges the head of an answer to a `SeedFetch`: where its body begins and ends in the torrent, or what is wrong with
 * it (RFC 9110 sections 14 and 15). Pure.
 *
 * A body is believed only if the server says that it is what was asked for: a range that begins elsewhere, a file of
 * another length, or a body that is compressed would put wrong bytes into every piece of it.
 */
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type { SeedFault } from "./SeedFault.ts"
import * as Fault from "./SeedFault.ts"
import type { SeedFetch } from "./SeedFetch.ts"

/** The head of an answer. Names of headers are in lower case. */
export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
}

/** A body that can be used. Offsets count from the first byte of the torrent. */
export interface Body {
  readonly begin: number
  readonly end: number
  /** Whether the server sent the whole file although a part was asked for. */
  readonly ignoresRange: boolean
}

/** What an answer is. */
export type Verdict =
  | { readonly _tag: "Body"; readonly body: Body }
  | { readonly _tag: "Fault"; readonly fault: SeedFault }

const fault = (kind: Fault.Kind, why: string, retryAfter?: number): Verdict => ({
  _tag: "Fault",
  fault: Fault.make(kind, why, retryAfter)
})

/** The longest time that a server may ask us to stay away (milliseconds). */
export const longestRetryAfter = 3_600_000

/** `Content-Range: bytes first-last/length`, with `*` for a length that is not known. */
const contentRange = /^bytes\s+(\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/i

const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d{1,16}$/.test(text.trim()) ? Number(text) : undefined

/**
 * Milliseconds that `Retry-After` asks for: a number of seconds, or a date, for which `date` is the server's own clock.
 */
export const retryAfterOf = ({ headers }: Head): number | undefined => {
  const { date, "retry-after": text } = headers
  if (text === undefined) return undefined
  const seconds = numberOf(text)
  const millis = seconds === undefined ? Date.parse(text) - Date.parse(date ?? "") : seconds * 1_000
  return Number.isFinite(millis) ? Math.min(longestRetryAfter, Math.max(0, millis)) : undefined
}

const isEncoded = (head: Head): boolean => {
  const encoding = head.headers["content-encoding"]?.trim().toLowerCase() ?? ""
  return encoding !== "" && encoding !== "identity"
}

/** Judges the head of the answer to `fetch`. */
export const judge = (fetch: SeedFetch, head: Head): Verdict => {
  const { status } = head
  if (status === 206) return fetch.range === undefined ? fault("Strange", unasked) : ofRange(fetch, fetch.range, head)
  if (status === 200) return ofWhole(fetch, head)
  if (status === 416) return fault("Missing", "its file is shorter than the torrent says")
  if (status === 503 || status === 429) return fault("Busy", `HTTP status ${status}`, retryAfterOf(head))
  if (status >= 500 || status === 408 || status === 425) return fault("Unreachable", `HTTP status ${status}`)
  if (status >= 400) return fault("Missing", `HTTP status ${status}`)
  return fault("Strange", `HTTP status ${status}`)
}

const unasked = "it sent a range that was not asked for"

const encoded = (head: Head): Verdict => fault("Strange", `it compressed the file: ${shownEncoding(head)}`)

/** A server chooses the text, so little of it is shown. */
const shownEncoding = ({ headers }: Head): string =>
  (headers["content-encoding"] ?? "").replace(/[^a-z0-9, -]/gi, "").slice(0, 20)

const ofRange = (fetch: SeedFetch, range: NonNullable<SeedFetch["range"]>, head: Head): Verdict => {
  if (isEncoded(head)) return encoded(head)
  const text = head.headers["content-range"]?.trim()
  if (text === undefined) return fault("Strange", "it sent a range without saying which")
  const [, first, last, total] = contentRange.exec(text) ?? []
  if (first === undefined || Number(first) !== range.first) return fault("Strange", unasked)
  if (total !== "*" && Number(total) !== fetch.source.length) return fault("Missing", otherLength)
  const length = Number(last) - range.first + 1
  // A server may send less than was asked for, but an answer for every few bytes would cost more than it brings.
  const isShort = length < PieceGeometry.blockLength && Number(last) !== range.last
  if (length < 1 || isShort || Number(last) > range.last) return fault("Strange", unasked)
  const said = numberOf(head.headers["content-length"])
  if (said !== undefined && said !== length) return fault("Strange", "its answer has another length than it says")
  return { _tag: "Body", body: { begin: fetch.begin, end: fetch.begin + length, ignoresRange: false } }
}

const otherLength = "its file has another length than the torrent says"

const ofWhole = (fetch: SeedFetch, head: Head): Verdict => {
  if (isEncoded(head)) return encoded(head)
  const { range, source } = fetch
  const said = numberOf(head.headers["content-length"])
  // Without a range, the URL names what is to be sent: a file, or a part of a piece.
  if (range === undefined) {
    if (said !== undefined && said !== fetch.end - fetch.begin) return fault("Missing", otherLength)
    return { _tag: "Body", body: { begin: fetch.begin, end: fetch.end, ignoresRange: false } }
  }
  if (said !== undefined && said !== source.length) return fault("Missing", otherLength)
  const isWhole = range.first === 0 && range.last === source.length - 1
  return { _tag: "Body", body: { begin: source.begin, end: source.begin + source.length, ignoresRange: !isWhole } }
}
