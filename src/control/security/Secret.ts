/**
 * Random secrets as text for headers, cookies and URLs, and how they are found and compared.
 *
 * A secret that is looked up in a map has two parts. The first one is its key. The second one is compared with the
 * whole secret in constant time, so the time of a look-up says nothing about it.
 */
import * as Mac from "effect/crypto/Mac"
import * as Base64Url from "effect/encoding/Base64Url"

/** How a secret looks: 43 characters for 256 bits. */
const shape = /^[A-Za-z0-9_-]{43}$/

/** Characters of a secret that are its key: 120 bits. As many remain to be compared, and more. */
const keyLength = 20

/** Makes a secret: 256 random bits in base64url (RFC 4648 section 5), without padding. */
export const make = (): string => Base64Url.encode(crypto.getRandomValues(new Uint8Array(32)))

/** Whether a text could be a secret. */
export const isSecret = (text: string): boolean => shape.test(text)

/** The part of a secret by which it is looked up. Whoever knows only this part cannot use the secret. */
export const keyOf = (secret: string): string => secret.slice(0, keyLength)

const encoder = new TextEncoder()

/** Whether two texts are equal. Takes the same time wherever they differ; a different length is seen at once. */
export const equals = (a: string, b: string): boolean => Mac.timingSafeEqual(encoder.encode(a), encoder.encode(b))
