/**
 * The folder in which media of files keep files that nobody wants. It is the same for all of them, so that a download
 * that was begun with one medium can continue with another.
 */
import * as ReservedName from "../metainfo/ReservedName.ts"

/** Components below the download folder; the paths of the torrent go on from there. */
export const components: ReadonlyArray<string> = [ReservedName.folder, "parts"]
