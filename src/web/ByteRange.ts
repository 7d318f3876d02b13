/**
 * The `Range` header of a request for one range of bytes (RFC 9110, section 14). Other units, several ranges and what is
 * malformed are ignored, as section 14.2 allows, so the whole file is sent.
 */

/** The bytes from `begin` up to, and without, `end`. */
export interface ByteRange {
  readonly begin: number
  readonly end: number
}

/**
 * Parses the header for a file of `length` bytes. `undefined` if the whole file is to be sent; "unsatisfiable" if the
 * range begins behind its end (status 416). A file without bytes has no range, so it is sent as it is.
 */
export const parse = (header: string, length: number): ByteRange | "unsatisfiable" | undefined => {
  const match = /^bytes=[ \t]*(\d*)-(\d*)[ \t]*$/i.exec(header)
  if (match === null || length === 0) return undefined
  const [, first = "", last = ""] = match
  if (first === "") {
    if (last === "") return undefined
    const suffix = Number(last)
    return suffix === 0 ? "unsatisfiable" : { begin: Math.max(0, length - suffix), end: length }
  }
  const begin = Number(first)
  if (last !== "" && Number(last) < begin) return undefined
  if (begin >= length) return "unsatisfiable"
  return { begin, end: last === "" ? length : Math.min(length, Number(last) + 1) }
}

/** The `Content-Range` header of a response with that part of `length` bytes, or, without a part, of a status 416. */
export const contentRange = (range: ByteRange | undefined, length: number): string =>
  range === undefined ? `bytes */${length}` : `bytes ${range.begin}-${range.end - 1}/${length}`
