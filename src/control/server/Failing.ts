/**
 * What the errors of a session are to a client of the API.
 */
import type { InfoHash } from "../../base/InfoHash.ts"
import type { OptionRefused } from "../../session/SessionInput.ts"
import type { SessionStoreError } from "../../session/SessionStore.ts"
import type { NotInSession, NotOpened, PathRefused } from "../../session/SessionTorrent.ts"
import type { StorageError } from "../../storage/Storage.ts"
import type { RemovalFailed } from "../../torrent/TorrentStopped.ts"
import * as Errors from "../api/ApiErrors.ts"

/** The errors of operations on a torrent of a session. */
type Failure =
  | NotInSession
  | NotOpened
  | OptionRefused
  | PathRefused
  | SessionStoreError
  | StorageError
  | RemovalFailed
  | Errors.FileNotFound

/** What an error is to a client. */
type Answer<E> = E extends NotInSession
  ? Errors.TorrentNotFound
  : E extends NotOpened
    ? Errors.TorrentNotReady
    : E extends OptionRefused
      ? Errors.RequestRefused
      : E extends PathRefused
        ? Errors.PathTaken
        : E extends SessionStoreError
          ? Errors.StoreFailed
          : E extends StorageError
            ? Errors.PathTaken | Errors.DiskFailed
            : E extends RemovalFailed
              ? Errors.DiskFailed
              : E extends Errors.FileNotFound
                ? E
                : never

const answer = (infoHash: InfoHash, error: Failure): Answer<Failure> => {
  const { message } = error
  switch (error._tag) {
    case "piecewise/NotInSession":
      return new Errors.TorrentNotFound({ infoHash, message })
    case "piecewise/NotOpened":
      return new Errors.TorrentNotReady({ infoHash, message })
    case "piecewise/OptionRefused":
      return new Errors.RequestRefused({ message })
    case "piecewise/PathRefused":
      return new Errors.PathTaken({ message })
    case "piecewise/SessionStoreError":
      return new Errors.StoreFailed({ message })
    case "piecewise/StorageError":
      return error.reason._tag === "FileExists" ? new Errors.PathTaken({ message }) : new Errors.DiskFailed({ message })
    case "piecewise/RemovalFailed":
      return new Errors.DiskFailed({ message })
    case "piecewise/FileNotFound":
      return error
  }
}

/** What an error of an operation on a torrent is to a client. */
export const of =
  (infoHash: InfoHash) =>
  <E extends Failure>(error: E): Answer<E> =>
    answer(infoHash, error) as Answer<E>

/** What an error of an operation on the session as a whole is to a client. */
export const ofSession = ({ _tag, message }: OptionRefused | SessionStoreError) =>
  _tag === "piecewise/OptionRefused" ? new Errors.RequestRefused({ message }) : new Errors.StoreFailed({ message })
