import type { HttpBindings } from '@hono/node-server';
import type { Context } from 'hono';
import type { Client } from './access/client-address.js';
import type { Scope } from './access/tokens.js';

/** The identity of a caller. */
export interface Caller {
  /** The token's ID; `socket` for the control socket. */
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  readonly via: 'token' | 'session' | 'socket';
}

/** The variables that the middleware sets for the routes. */
export interface ApiEnv {
  Bindings: HttpBindings;
  Variables: {
    client: Client;
    /** Null without a token or session. */
    identity: Caller | null;
    /** The CSRF token that forms of this session must send; empty without a session. */
    csrf: string;
  };
}

export type ApiContext = Context<ApiEnv>;
