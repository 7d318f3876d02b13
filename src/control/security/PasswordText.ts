/**
 * What a password may be, as text. It is compared in its normal form NFKC (Unicode Standard Annex 15), because keyboards
 * and systems write the same characters in different ways.
 */

/** Characters of the shortest password that can be set. */
export const minLength = 8

/** Bytes of the longest one in UTF-8. Longer ones are wrong without being checked. */
export const maxBytes = 1_024

const encoder = new TextEncoder()

/** The bytes of a password that are hashed; `undefined` if it is longer than any that can be set. */
export const bytesOf = (text: string): Uint8Array | undefined => {
  // No character becomes shorter than a third of its length in UTF-8, so this bounds the work for a long text.
  if (text.length > 4 * maxBytes) return undefined
  const bytes = encoder.encode(text.normalize("NFKC"))
  return bytes.length > maxBytes ? undefined : bytes
}

/** Why a password cannot be set, as the end of a sentence; `undefined` if it can. */
export const whyNot = (text: string): string | undefined => {
  if (!text.isWellFormed()) return "it has half of a character"
  if (bytesOf(text) === undefined) return `it is longer than ${maxBytes} bytes`
  return [...text.normalize("NFKC")].length < minLength ? `it has fewer than ${minLength} characters` : undefined
}
