/**
 * Recognizes the name of the folder `.piecewise`, in which piecewise keeps its own data below each download folder.
 * Recognizes also every other spelling by which some file system finds that folder. No component of a path in a torrent
 * may have such a name. Otherwise a hostile torrent could plant resume data, or replace files that were set aside.
 *
 * The io-daemon refuses the same names (`native-host/io-daemon/src/disk/reserved.rs`). Both are tested with the names
 * in `test/fixtures/reserved-names.json`. A name is reserved if it is `.piecewise` after these steps:
 *
 * - Characters that HFS+ and the casefold option of ext4 ignore are removed. Unicode calls them default ignorable.
 * - The rest is brought to the normal form NFKC, by which ZFS can compare names. It turns fullwidth letters into plain
 *   ones.
 * - A `:` is removed with all that follows it, because NTFS reads that as the name of a stream of the file.
 * - Dots and blanks at the end are removed, because Windows drops them.
 * - The case of letters is ignored.
 *
 * The short names that FAT and NTFS make for `.piecewise` are reserved too. They are `PIECEW~1` (with any number), and
 * the form that Windows uses if many names begin alike: two letters, a digest of the name, and a number.
 */

/** Says why nothing in a torrent may have this name. It is a clause that fits after a colon. */
export const why = "piecewise keeps its own data in a folder of this name"

/** The name of the folder. */
export const folder = ".piecewise"

const ignored = /\p{Default_Ignorable_Code_Point}|\ufeff/gu
const stream = /:.*$/s
// Begins only where a run begins. Otherwise a name with a long run inside costs quadratic time.
const tail = /(?<![. ])[. ]+$/
// 5D34 is the digest that Windows computes of `.piecewise`.
const short = /^PI(?:ECEW|5D34)~\d+$/

// Matches most names that are certainly not reserved, so that a torrent of 100,000 files seldom needs the slower
// expressions above. The first alternative matches a name that begins with a character of certain blocks of Unicode, of
// which none is ignored or is a form of `.` or `P`. The second one matches a name that begins with a plain letter, a
// digit, `_` or `-`, and that has no tilde. It is neither a form of `.piecewise` nor a short name.
const beginsOtherwise =
  /^[\u00c0-\u02af\u0370-\u05ff\u0900-\u10ff\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7af]|^[\w-][^~\uff5e]*$/

/**
 * UTF-16 units of a component, above the 255 of every file system. A longer one is not examined, because the normal
 * form of many combining marks costs quadratic time.
 */
const maxLength = 1_024

/** Returns whether some file system may resolve `component` to `folder`. */
export const is = (component: string): boolean => {
  if (component.length > maxLength) return false
  if (beginsOtherwise.test(component)) return false
  const plain = component
    // Two lone surrogates must not become a character when what is between them is removed.
    .toWellFormed()
    .replace(ignored, "")
    .normalize("NFKC")
    .replace(stream, "")
    .replace(tail, "")
    // Two letters that differ only in case become equal in this order of calls, as in Unicode's case folding. Upper
    // case alone keeps the capital sharp s. Lower case alone keeps the dotless i and the long s.
    .toLowerCase()
    .toUpperCase()
  return plain === folder.toUpperCase() || short.test(plain)
}
