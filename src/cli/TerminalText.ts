/**
 * Text that is safe for a terminal, and its width in columns. Names, comments and tracker responses come from
 * strangers, and a terminal executes the control sequences it receives.
 */

/** Control characters, line separators, and marks that change the text direction. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** The text in one line, with U+FFFD for each character that a terminal would interpret. */
export const clean = (text: string): string => text.toWellFormed().replace(unsafe, "\ufffd")

/** Characters that JSON does not escape, although a terminal interprets them or people cannot see them. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u{e0000}-\u{e0fff}]/gu

/** A value as one line of JSON with only visible characters. A JSON parser reads the same value. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(unseen, (character) => {
    let escaped = ""
    for (let at = 0; at < character.length; at++) {
      escaped += `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`
    }
    return escaped
  })

const noWidth = /^[\p{Mn}\p{Me}\p{Cf}\p{Emoji_Modifier}]$/u

/** Ranges of East Asian wide and fullwidth characters (UAX 11), and emoji. */
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u

const widthOf = (character: string): number => {
  if (character < "\u0300") return 1
  return noWidth.test(character) ? 0 : wide.test(character) ? 2 : 1
}

/** The width of clean text in columns. */
export const width = (text: string): number => {
  let columns = 0
  for (const character of text) columns += widthOf(character)
  return columns
}

/** Clean text cut to `columns`. Text that is longer ends with an ellipsis. */
export const fit = (text: string, columns: number, ellipsis = "…"): string => {
  if (width(text) <= columns) return text
  let fitted = ""
  let used = ellipsis.length
  for (const character of text) {
    used += widthOf(character)
    if (used > columns) break
    fitted += character
  }
  return columns < ellipsis.length ? "" : fitted + ellipsis
}
