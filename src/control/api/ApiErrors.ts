/**
 * How requests to a service fail. Each error has a `_tag` for programs, and a `message` that is a sentence for users.
 *
 * Who may not control the service at all learns it from `security/Refused.ts`.
 */
import * as Schema from "effect/Schema"
import { InfoHash } from "../../base/InfoHash.ts"

const message = Schema.String

/** The request does not have the form that the API describes, or a value in it is not possible. */
export class RequestRefused extends Schema.TaggedError<RequestRefused>()(
  "piecewise/RequestRefused",
  { message },
  { httpApiStatus: 400 }
) {}

/** The service has nothing at this path. */
export class RouteNotFound extends Schema.TaggedError<RouteNotFound>()(
  "piecewise/RouteNotFound",
  { message },
  { httpApiStatus: 404 }
) {}

/** What is at this path cannot be asked with this method. The header `Allow` has those with which it can. */
export class MethodNotAllowed extends Schema.TaggedError<MethodNotAllowed>()(
  "piecewise/MethodNotAllowed",
  { message },
  { httpApiStatus: 405 }
) {}

/** The body has another content type than the API describes. */
export class TypeNotSupported extends Schema.TaggedError<TypeNotSupported>()(
  "piecewise/TypeNotSupported",
  { message },
  { httpApiStatus: 415 }
) {}

/** So many clients follow the events that another one cannot. May pass. The header `Retry-After` has the seconds. */
export class TooManyListeners extends Schema.TaggedError<TooManyListeners>()(
  "piecewise/TooManyListeners",
  { message },
  { httpApiStatus: 503 }
) {}

/** The session has no torrent with this info hash. */
export class TorrentNotFound extends Schema.TaggedError<TorrentNotFound>()(
  "piecewise/TorrentNotFound",
  { infoHash: InfoHash, message },
  { httpApiStatus: 404 }
) {}

/** The torrent has no file with this index. */
export class FileNotFound extends Schema.TaggedError<FileNotFound>()(
  "piecewise/FileNotFound",
  { infoHash: InfoHash, file: Schema.Finite, message },
  { httpApiStatus: 404 }
) {}

/** The session has a torrent with this info hash already. */
export class TorrentExists extends Schema.TaggedError<TorrentExists>()(
  "piecewise/TorrentExists",
  { infoHash: InfoHash, message },
  { httpApiStatus: 409 }
) {}

/** The torrent cannot do this in the state that it is in, such as before the metadata of a magnet link is known. */
export class TorrentNotReady extends Schema.TaggedError<TorrentNotReady>()(
  "piecewise/TorrentNotReady",
  { infoHash: InfoHash, message },
  { httpApiStatus: 409 }
) {}

/** A file cannot be where it should go: the path is not safe, or something is there already. Nothing was changed. */
export class PathTaken extends Schema.TaggedError<PathTaken>()(
  "piecewise/PathTaken",
  { message },
  { httpApiStatus: 409 }
) {}

/** The torrent file or the magnet link cannot be used. */
export class SourceRefused extends Schema.TaggedError<SourceRefused>()(
  "piecewise/SourceRefused",
  { message },
  { httpApiStatus: 422 }
) {}

/** The torrent file could not be fetched from its URL. May pass. */
export class SourceUnavailable extends Schema.TaggedError<SourceUnavailable>()(
  "piecewise/SourceUnavailable",
  { message },
  { httpApiStatus: 502 }
) {}

/** The disk refuses or fails. May pass. */
export class DiskFailed extends Schema.TaggedError<DiskFailed>()(
  "piecewise/DiskFailed",
  { message },
  { httpApiStatus: 503 }
) {}

/** What outlives the service could not be saved, so nothing was changed, or it could not be read. May pass. */
export class StoreFailed extends Schema.TaggedError<StoreFailed>()(
  "piecewise/StoreFailed",
  { message },
  { httpApiStatus: 503 }
) {}
