/**
 * Decides who may talk to a service over HTTP, before any route is looked up.
 */

/** How a service is reached. */
export interface Options {
  /**
   * Names by which the service may be called, besides `localhost` and IP addresses: `seedbox.example.org`, or
   * `*.example.org` for every name below that domain. Without ports. A name that is missing here gets 421.
   */
  readonly allowedHosts?: ReadonlyArray<string> | undefined
  /**
   * Origins of pages elsewhere that may use the service with the token, such as `https://panel.example.org`. They get
   * CORS headers; their cookies count for nothing. Default: none.
   */
  readonly allowedOrigins?: ReadonlyArray<string> | undefined
  /** The path below which a proxy serves the service, such as `/torrents`; default `/`. Requests must begin with it. */
  readonly basePath?: string | undefined
  /**
   * Addresses and subnets of proxies, whose `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed:
   * `127.0.0.1`, `10.0.0.0/8`. Default: none, so that the client is whoever opened the connection.
   */
  readonly trustedProxies?: ReadonlyArray<string> | undefined
}
