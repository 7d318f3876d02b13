/**
 * Paths of requests: which of them have one reading only, the base path before them, and what their routes need of a
 * client.
 *
 * Routers, proxies and file servers read `//`, `/../`, `%2f` and `;` in different ways. What is allowed here must be
 * what is routed, so a path with any of them is refused.
 */

/** Characters of a path as RFC 3986 section 3.3 has them, without `;`. */
const allowed = /^\/[A-Za-z0-9._~!$&'()*+,=:@%/-]*$/

/** Encoded characters that separate components or end a text: a slash and NUL. */
const encodedSeparator = /%(?:2f|00)/i

/**
 * The path of a request target, without its query; `undefined` if it has several readings: it is no absolute path, it
 * is not encoded UTF-8, or it has an empty component (except at its end), `.`, `..`, an encoded slash or a `;`.
 */
export const parse = (target: string): string | undefined => {
  const query = target.indexOf("?")
  const path = query < 0 ? target : target.slice(0, query)
  if (!allowed.test(path) || path.includes("//") || encodedSeparator.test(path)) return undefined
  try {
    return path.split("/").some((component) => /^\.\.?$/.test(decodeURIComponent(component))) ? undefined : path
  } catch {
    return undefined
  }
}

const basePath = /^(?:\/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+$/

/**
 * The canonical form of a base path: `""` for `/`, and `/torrents` for `/torrents/`; `undefined` if a text is none. Its
 * components begin with a letter, a digit, `_`, `~` or `-`, and may have dots after that.
 */
export const parseBase = (text: string): string | undefined => {
  const base = text.replace(/\/$/, "")
  return base === "" || basePath.test(base) ? base : undefined
}

/** A request target without the base path before it; `undefined` if it does not begin with that. */
export const withoutBase = (base: string, target: string): string | undefined => {
  if (!target.startsWith(base)) return undefined
  const rest = target.slice(base.length)
  if (rest.startsWith("/")) return rest
  return rest === "" || rest.startsWith("?") ? `/${rest}` : undefined
}

/** What a route needs of a client. */
export type Need =
  /** Nothing. */
  | { readonly _tag: "Nothing" }
  /** Nothing, but the route wants to know who the client is. */
  | { readonly _tag: "Anybody" }
  /** A ticket, which is a component of the path. */
  | { readonly _tag: "Ticket"; readonly ticket: string }
  /** The token, the password or a session. */
  | { readonly _tag: "Credentials" }

/** Where clients log in. */
export const loginPath = "/v1/login"

const nothing: Need = { _tag: "Nothing" }
const anybody: Need = { _tag: "Anybody" }
const credentials: Need = { _tag: "Credentials" }

const openPaths: ReadonlySet<string> = new Set(["/health", "/ready"])

const ticketPath = /^\/v1\/stream\/([^/]+)(?:\/|$)/

/** What the route of a path needs. What is not known here needs credentials. */
export const needOf = (method: string, path: string): Need => {
  const isRead = method === "GET" || method === "HEAD"
  if (isRead && openPaths.has(path)) return nothing
  if (path === loginPath && (isRead || method === "POST")) return anybody
  const ticket = isRead ? ticketPath.exec(path)?.[1] : undefined
  return ticket === undefined ? credentials : { _tag: "Ticket", ticket }
}

/** The path of the Transmission RPC, to which `transmission-remote` adds a slash. */
const rpcPath = /^\/transmission\/rpc\/?$/

/**
 * The value of `WWW-Authenticate` for a path. Browsers ask for a password if it names Basic, so it does so only where
 * other programs need that.
 */
export const challengeOf = (path: string): string =>
  rpcPath.test(path) || path === "/metrics"
    ? 'Basic realm="piecewise", charset="UTF-8", Bearer realm="piecewise"'
    : 'Bearer realm="piecewise"'

/** The longest bodies (bytes): of a client without credentials, of most routes, and of those that take torrents. */
const maxBody = { anybody: 8_192, most: 1_048_576, torrents: 100_663_296 } as const

/** Where torrents are added: as JSON, and as files. */
const torrentPath = /^\/v1\/torrents(?:\/|\/file)?$/

/**
 * The longest body (bytes) of a request. Routes that take torrents take 96 MiB: a metainfo file of 64 MiB
 * (`MetadataLimit.ts`), which is a third longer in base64, and what is around it.
 */
export const maxBodyOf = (method: string, path: string): number =>
  needOf(method, path)._tag !== "Credentials"
    ? maxBody.anybody
    : rpcPath.test(path) || (method === "POST" && torrentPath.test(path))
      ? maxBody.torrents
      : maxBody.most
