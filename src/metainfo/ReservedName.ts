/**
 * The name of the folder in which piecewise keeps its own data below a download folder, and every other spelling by
 * which some file system finds that folder. No torrent may have such a component: it could plant resume data, or bytes
 * of files that were set aside.
 *
 * The io-daemon refuses the same names (`native-host/io-daemon/src/disk/path.rs`); the vectors of both are
 * `test/fixtures/reserved-names.json`. The spellings are
 *
 * - any case, and any normal form: ZFS can compare by NFKC, which makes fullwidth letters plain ones
 * - with characters in between that HFS+ and ext4's casefold ignore: Unicode's default ignorable ones
 * - with dots and blanks at the end, which Windows drops, or with `:` and the name of a stream (NTFS)
 * - the short names of FAT and NTFS: `PIECEW~1`, and the form that Windows falls back to, which has a digest of the
 *   name
 */

/** Why nothing of a torrent may have this name. */
export const why = "piecewise keeps its own data in a folder of this name"

/** The folder's name. */
export const folder = ".piecewise"

const ignored = /\p{Default_Ignorable_Code_Point}|\ufeff/gu
const stream = /:.*$/s
const tail = /[. ]+$/
// 5D34 is the digest that Windows computes of `.piecewise`.
const short = /^PI(?:ECEW|5D34)~\d+$/

// Every spelling begins with a dot, or is a short name with a tilde; letters of these blocks are neither ignored nor
// another form of `.` or `p`. This saves the expressions above for a torrent of 100,000 files.
const beginsOtherwise =
  /^[\u00c0-\u02af\u0370-\u05ff\u0900-\u10ff\u3041-\u30ff\u4e00-\u9fff\uac00-\ud7af]|^[\w-][^~\uff5e]*$/

/** Whether some file system may resolve `component` to `folder`. */
export const is = (component: string): boolean => {
  if (beginsOtherwise.test(component)) return false
  const plain = component
    .replace(ignored, "")
    .normalize("NFKC")
    .replace(stream, "")
    .replace(tail, "")
    .toLowerCase()
    .toUpperCase()
  return plain === folder.toUpperCase() || short.test(plain)
}
