/**
 * Makes text safe for a terminal, and measures and cuts it in columns. Names, comments and responses of trackers come
 * from strangers, and a terminal executes the control sequences that it receives.
 */

/** Matches control characters, line and paragraph separators, and marks that change the direction of text. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** Returns the text with U+FFFD for each character that a terminal would interpret, line ends included. */
export const clean = (text: string): string => text.toWellFormed().replace(unsafe, "\ufffd")

/**
 * Matches characters that a terminal interprets or people cannot see. `JSON.stringify` escapes only some of them, the
 * control characters below U+0020 and lone surrogates.
 */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\u{e0000}-\u{e0fff}]/gu

/** Returns a value as one line of JSON that has only visible characters. A JSON parser reads the same value from it. */
export const json = (value: unknown): string =>
  JSON.stringify(value).replace(unseen, (character) => {
    let escaped = ""
    // JSON escapes UTF-16 code units, of which a character above U+FFFF has two.
    for (let at = 0; at < character.length; at++) {
      escaped += `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`
    }
    return escaped
  })

/** Matches characters that take no column, because they change the character before them or are invisible. */
const noWidth = /^[\p{Mn}\p{Me}\p{Cf}\p{Emoji_Modifier}]$/u

/** Matches characters that take two columns: those of East Asia that are wide or fullwidth (UAX 11), and emoji. */
const wide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u

/** Returns the width of a character in columns. */
const widthOf = (character: string): number => {
  if (character < "\u0300") return 1
  return noWidth.test(character) ? 0 : wide.test(character) ? 2 : 1
}

/** Returns the width of a text in columns. The text must be clean, as `clean` makes it. */
export const width = (text: string): number => {
  let columns = 0
  for (const character of text) columns += widthOf(character)
  return columns
}

/**
 * Cuts a clean text to at most `columns` columns. A text that is cut ends with `ellipsis`, whose characters must have
 * one column each. Returns an empty text if not even the ellipsis fits.
 */
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
