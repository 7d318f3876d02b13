/**
 * What an operating system's socket errors mean to a user. Pure: codes in, words out.
 */

/** The code of our own errors about addresses that are not of this machine (`Offline.ts`). */
export const offline = "PIECEWISE_OFFLINE"

const whys: ReadonlyMap<string, string> = new Map([
  ["EACCES", "permission denied"],
  ["EADDRINUSE", "address is in use"],
  ["EADDRNOTAVAIL", "address is not available on this machine"],
  ["EAFNOSUPPORT", "address family is not supported"],
  ["EAI_AGAIN", "host name lookup failed"],
  ["EAI_FAIL", "host name lookup failed"],
  ["EAI_NODATA", "host not found"],
  ["EAI_NONAME", "host not found"],
  ["ECANCELED", "cancelled"],
  ["ECONNABORTED", "connection reset"],
  ["ECONNREFUSED", "connection refused"],
  ["ECONNRESET", "connection reset"],
  ["EHOSTDOWN", "host unreachable"],
  ["EHOSTUNREACH", "host unreachable"],
  ["EINVAL", "address is not valid"],
  ["EMFILE", "too many open files"],
  ["ENETDOWN", "network unreachable"],
  ["ENETUNREACH", "network unreachable"],
  ["ENFILE", "too many open files"],
  ["ENOBUFS", "out of socket buffers"],
  ["ENOMEM", "out of memory"],
  ["ENOTCONN", "connection reset"],
  ["ENOTFOUND", "host not found"],
  ["EPERM", "permission denied"],
  ["EPIPE", "connection reset"],
  ["EPROTO", "connection reset"],
  ["ERR_INVALID_ARG_VALUE", "address is not valid"],
  ["ERR_SOCKET_BAD_PORT", "port is not valid"],
  ["ERR_SOCKET_CLOSED", "connection reset"],
  ["ETIMEDOUT", "timed out"],
  [offline, `only this machine may be reached, because ${offline} is set`]
])

/** `why` of a `ConnectionError` for an error with `code` (`ECONNREFUSED`); an unknown code is shown as it is. */
export const why = (code: string | undefined): string =>
  code === undefined ? "connection failed" : (whys.get(code) ?? `connection failed (${code})`)

/** The same for an error of listening on `port`: `port 6881 is in use`. */
export const whyNotListening = (code: string | undefined, port: number): string => {
  if (code === "EADDRINUSE") return `port ${port} is in use`
  if (code === "EACCES" || code === "EPERM") return `port ${port} may not be used: permission denied`
  return why(code)
}

/** The fact of a `ConnectionError` that a socket had no descriptor, if that is why it failed. */
export const shortage = (code: string | undefined): { readonly code?: string } =>
  code === "EMFILE" || code === "ENFILE" ? { code } : {}

/** The `code` of what a socket failed with, if it has one. */
export const codeOf = (cause: unknown): string | undefined =>
  typeof cause === "object" && cause !== null && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : undefined
