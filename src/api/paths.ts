/** The page and everything that belongs to it: one prefix for the rule of a proxy, which Postern itself does not use. */
export const PAGE = '/audit-log';
export const LOGIN = `${PAGE}/login`;
export const LOGOUT = `${PAGE}/logout`;
