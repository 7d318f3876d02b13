/**
 * The header `Authorization` of requests (RFC 9110 section 11.6.2): Bearer (RFC 6750) and Basic (RFC 7617).
 */
import * as Base64 from "effect/encoding/Base64"
import * as Result from "effect/Result"

/** What a client sent. The user name of Basic counts for nothing. */
export type Sent =
  | { readonly _tag: "Bearer"; readonly token: string }
  | { readonly _tag: "Basic"; readonly password: string }

const header = /^(bearer|basic) +([A-Za-z0-9._~+/-]+=*) *$/i

/** Characters of the longest header that is read: a password of 1,024 bytes and a user name, in base64, and room. */
const maxLength = 4_096

const decoder = new TextDecoder("utf-8", { fatal: true })

/** Reads the header; `undefined` if it is of another scheme or malformed. */
export const parse = (text: string): Sent | undefined => {
  const match = text.length > maxLength ? null : header.exec(text)
  if (match === null) return undefined
  const [, scheme, value] = match as unknown as [string, string, string]
  if (scheme.toLowerCase() === "bearer") return { _tag: "Bearer", token: value }
  const bytes = Base64.decode(value)
  if (Result.isFailure(bytes)) return undefined
  try {
    const pair = decoder.decode(bytes.success)
    const colon = pair.indexOf(":")
    return colon < 0 ? undefined : { _tag: "Basic", password: pair.slice(colon + 1) }
  } catch {
    return undefined
  }
}
