/** Calls of the server. All addresses are relative to the base of the page, so that any prefix works. */
import { createSignal } from "./signal.js";

/** Longest JSON text of a query that fits into an address; longer ones are sent beforehand. */
const LONGEST_SPEC = 4000;
const KEPT_SPECS = 50;
const UNAUTHORIZED = 401;
const HEADERS = { "X-SQLTrack": "1" };

/** Whether the server and the database answer: "ok", "offline", "unknown" (of the browser) or "database". */
export const connection = createSignal("ok");

const sentSpecs = new Map();

/**
 * An answer that is not the one asked for. `kind` is "where", "unknown", "timeout", "database", "request" or "offline";
 * `details` holds what else the answer has, such as the place of an error in SQL.
 */
export class ApiError extends Error {
  constructor(message, kind, status = 0, details = {}) {
    super(message);
    this.name = "ApiError";
    this.kind = kind;
    this.status = status;
    this.details = details;
  }
}

/** Return whether an error only says that the caller gave up the call. */
export function isAbort(error) {
  return error?.name === "AbortError";
}

/** Return whether the same call may be answered later: the server or the database was away. */
export function isPassing(error) {
  return error?.kind === "offline" || error?.kind === "database";
}

/** Return the address of a file or call of the server. */
export function address(path) {
  return new URL(path, document.baseURI).href;
}

/**
 * Call a query of the server.
 *
 * @param {string} name of the query, such as "runs"
 * @param {object} spec of the query
 * @param {{signal?: AbortSignal}} options signal to give up the call
 * @returns {Promise<object>} the answer
 * @throws {ApiError} the server refused, failed or is away
 */
export async function get(name, spec = {}, { signal } = {}) {
  const text = JSON.stringify(spec);
  if (text.length <= LONGEST_SPEC) {
    // Nothing is awaited before, so that the request leaves before the caller goes on, for example to draw.
    return request(shortPath(name, text), { signal });
  }
  try {
    return await request(await longPath(name, text, signal), { signal });
  } catch (error) {
    // A server that was started again has lost the specs that it kept in memory.
    if (error.status !== 404 || !sentSpecs.delete(text)) {
      throw error;
    }
  }
  return request(await longPath(name, text, signal), { signal });
}

/** Return the path of a query, such as `api/runs?spec=…`. */
export async function queryPath(name, spec, signal) {
  const text = JSON.stringify(spec);
  return text.length <= LONGEST_SPEC ? shortPath(name, text) : longPath(name, text, signal);
}

function shortPath(name, text) {
  return `api/${name}?spec=${encodeURIComponent(text)}`;
}

async function longPath(name, text, signal) {
  return `api/${name}?state=${encodeURIComponent(await sendSpec(text, signal))}`;
}

/** Send a body as JSON to `api/NAME`. */
export function post(name, body, { signal } = {}) {
  return request(`api/${name}`, {
    method: "POST",
    headers: { ...HEADERS, "Content-Type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal,
  });
}

/** Send DELETE to `api/NAME`. */
export function remove(name) {
  return request(`api/${name}`, { method: "DELETE", headers: HEADERS });
}

/** Get any path below the base, such as `api/views?page=runs`. */
export function getPath(path, { signal } = {}) {
  return request(path, { signal });
}

async function sendSpec(text, signal) {
  const known = sentSpecs.get(text);
  if (known !== undefined) {
    return known;
  }
  const { id } = await post("states?keep=no", text, { signal });
  sentSpecs.set(text, id);
  if (sentSpecs.size > KEPT_SPECS) {
    sentSpecs.delete(sentSpecs.keys().next().value);
  }
  return id;
}

async function request(path, options) {
  const response = await fetchAnswer(path, options);
  const body = await readJson(response);
  if (response.ok) {
    connection.set("ok");
    return body;
  }
  const kind = body?.kind ?? "request";
  connection.set(response.status === UNAUTHORIZED ? "unknown" : kind === "database" ? "database" : "ok");
  throw new ApiError(body?.error ?? sentence(response), kind, response.status, body ?? {});
}

async function fetchAnswer(path, options) {
  try {
    return await fetch(address(path), { credentials: "same-origin", headers: HEADERS, ...options });
  } catch (error) {
    if (isAbort(error)) {
      throw error;
    }
    connection.set("offline");
    throw new ApiError("the server does not answer; is `sqltrack ui` still running?", "offline");
  }
}

async function readJson(response) {
  try {
    return await response.json();
  } catch (error) {
    if (isAbort(error)) {
      throw error;
    }
    if (response.ok) {
      throw new ApiError("the answer of the server is not JSON", "request", response.status);
    }
    return null;
  }
}

function sentence(response) {
  if (response.status === 401 || response.status === 403) {
    return "the server does not know this browser; open the address that `sqltrack ui` printed";
  }
  return `the server answered ${response.status} ${response.statusText}`.trim();
}
