/**
 * Where media of files keep what belongs to files that nobody wants: the same for all of them, so that a download begun with
 * one goes on with another.
 */
import * as ReservedName from "../metainfo/ReservedName.ts"

/** Components below the download folder; the paths of the torrent go on from there. */
export const components: ReadonlyArray<string> = [ReservedName.folder, "parts"]
