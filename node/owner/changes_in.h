/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes_in.h - inside of changes.h:
 *   projects.c      one of these per project, and whose a frame is
 *   changes.c       frames of edges, db and links to where they belong
 *   change_reader.c what db is told: whether it reads, and whose edges live
 *   change_queues.c queues to edges and nodes, and what happens when one is over its bound
 *   change_nodes.c  other nodes: their edges, what was told to each, what may have been lost
 *   change_missed.c edges that were not waited for are told
 *   change_cast.c   what db broadcasts, to the edge that publishes it
 *   change_split.c  one CHG frame into one for each that it concerns
 */
#ifndef NODE_OWNER_CHANGES_IN_H
#define NODE_OWNER_CHANGES_IN_H

#include "node/owner/changes.h"
#include "proto/mesh_node.h"

/* Nodes known at once. Those that are gone are forgotten, oldest row first, to make room. */
#define RT_CHANGE_NODES_MAX 256u
/* Where a target of a change is: an edge of this node, RT_EDGES_MAX + row of another node, or
 * nowhere. */
#define RT_CHANGE_PLACES  (RT_EDGES_MAX + RT_CHANGE_NODES_MAX)
#define RT_CHANGE_NOWHERE UINT32_MAX

/* To clients of an edge that was not waited for; part of the protocol. */
#define RT_CHANGES_MISSED "Changes may be missing: the server was cut off for a while"

/* Orders the holders of the slots of one server. lsn 0: none. */
struct change_term {
    uint64_t system, lsn;
    uint32_t timeline;
};

/* An edge that may have lived while our db read and did not wait for it. It is told so, by us,
 * whoever reads when it can be told. */
struct change_missed {
    uint64_t boot;
    bool told;           /* on this link */
    struct pr_pos after; /* then: once it acknowledges more than this, it has been told */
};

struct change_node {
    uint64_t id; /* 0: the row is free */
    uint64_t boots[RT_EDGES_MAX];
    uint32_t nboots;
    uint64_t absent; /* bitmap of boots: not attached to its owner since the link is new */
    uint64_t absent_until_ms;
    struct change_missed missed[RT_EDGES_MAX];
    uint32_t nmissed;
    bool gone;   /* dead or left: its boots are only remembered */
    bool heard;  /* told its edges since it appeared */
    bool linked; /* a link was up, and none of our frames was refused for want of one */
    /* Told its edges on this link. What they say before that could not be answered: it is not
     * taken, and they are asked then. */
    bool named;
    /* As a reader. */
    bool asks; /* wants our edges' registrations */
    uint64_t round;
    uint32_t earlier[RT_EDGES_MAX]; /* answers of an edge that are due to earlier questions */
    struct change_term term; /* of what it sends on this link; none: it may not send changes */
    /* As a node with edges of our reader. */
    bool ready;         /* HELD is on its link: changes may follow */
    struct pr_pos sent; /* the furthest that changes for it have gone */
    bool hole;          /* changes for it were not sent, or may have been lost with a link */
};

/* An edge of another node. */
struct change_boot {
    uint64_t boot;
    uint32_t node; /* row */
};

struct change_run; /* change_split.c */
struct change_body;

/* A CHG frame taken apart; memory is kept from frame to frame. */
struct change_split {
    struct change_run *runs;
    struct change_body *bodies;
    uint32_t nruns, runs_cap, nbodies, bodies_cap;
    uint64_t places[(RT_CHANGE_PLACES + 63) / 64]; /* bitmap of those named */
    uint32_t nplaces;
    uint8_t *out;
    size_t out_cap;
};

/* Of one project; projects.c has them all. */
struct changes {
    struct owner *o;
    char project[RT_PROJECT_NAME_MAX + 1];
    struct peer *db;         /* NULL: not attached */
    uint64_t reader;         /* elected; 0: nobody */
    bool known;              /* KNOWN was told to db */
    bool asking;             /* db has asked for registrations, as the elected one */
    bool again;              /* START was told because of a hole, and no HELD has come since */
    uint64_t round;          /* of what db asked */
    struct change_term held; /* db's; none: it does not hold the slot */
    bool held_casts;         /* db reads what the database broadcasts too */
    bool casting;            /* whoever reads does; as the edges know */
    struct change_term top;  /* the highest of all that was told */
    struct change_node nodes[RT_CHANGE_NODES_MAX];
    uint32_t nnodes;           /* rows in use are below */
    struct change_boot *boots; /* sorted, of all nodes that are not gone */
    uint32_t nboots, boots_cap;
    uint64_t ended[RT_EDGES_MAX]; /* boot of the edge whose connection ended last */
    uint32_t due[RT_EDGES_MAX];   /* CHG_SYNCED: an edge answers each CHG_SYNC, in order */
    uint32_t caster;              /* edge that publishes what db broadcasts; RT_EDGES_MAX: none */
    uint64_t cut;                 /* bitmap: edges to be cut at the end of the turn */
    struct rt_defer cut_later;
    struct change_split split;
    struct rt_timer timer;
    bool stopped; /* db is not read */
    uint64_t stopped_ms;
    bool passed;     /* there was room, and another project was to go on first */
    uint64_t filled; /* a queue: higher than that of all that did so before */
    uint64_t paused; /* bitmap: edges that are not read */
};

/* projects.c: NULL if the project is not known. */
struct changes *rt_change_of(const struct owner *o, struct pr_slice name);
/* All of them, in the order in which they came; NULL from the end on. */
struct changes *rt_change_at(const struct owner *o, uint32_t i);

/* What changes.h says of all projects, for one. */
struct changes *rt_change_new(struct owner *o, struct pr_slice project);
void rt_change_free(struct changes *c);
void rt_change_edge_up(struct changes *c, struct peer *edge);
void rt_change_edge_down(struct changes *c, const struct peer *edge);
void rt_change_edge_frame(struct changes *c, struct peer *edge, const struct pr_frame *f);
bool rt_change_db_frame(struct changes *c, const struct pr_frame *f);
bool rt_change_link_frame(struct changes *c, uint64_t from, const struct pr_frame *f);
/* change_reader.c */
void rt_change_db_up(struct changes *c, struct peer *db);
void rt_change_db_down(struct changes *c);
void rt_change_reader(struct changes *c, uint64_t id);
/* change_nodes.c */
void rt_change_node_here(struct changes *c, uint64_t id);
void rt_change_link_up(struct changes *c, uint64_t id);
void rt_change_actors(struct changes *c, uint64_t id, const uint64_t *boots, uint32_t count);
void rt_change_node_gone(struct changes *c, uint64_t id);
/* A project that is new here knows of the nodes what another one knows. */
void rt_change_nodes_like(struct changes *c, const struct changes *other);

/* change_reader.c */
/* This node reads: it is elected and its db is attached. */
bool rt_changes_is_reader(const struct changes *c);
void rt_changes_to_db(struct changes *c, struct pr_slice frame);
/* READER to db. */
void rt_changes_tell_db(struct changes *c, enum pr_reader_state state);
/* CHG_SYNCED of round 0 or CHG_GONE to db, if this node reads. */
void rt_changes_name(struct changes *c, uint64_t boot);
void rt_changes_unname(struct changes *c, uint64_t boot);
/* KNOWN to db, once all that is waited for has been named. */
void rt_changes_check_known(struct changes *c);

/* change_queues.c */
/* One that does not read is cut at the end of the turn, since somebody may be looking at it. */
void rt_change_to_edge(struct changes *c, uint32_t i, struct pr_slice frame);
void rt_change_to_edges(struct changes *c, struct pr_slice frame);
/* Stops to read db, and that of other projects, if a queue is over its bound. */
void rt_change_queues_check(struct changes *c);
/* Stops to read this edge until the links to readers have room. */
void rt_change_edge_pause(struct changes *c, struct peer *edge);
/* The timer: goes on where there is room again, gives up who takes nothing, heals holes. */
void rt_change_queues_look(void *ctx);
/* Has it look soon. */
void rt_change_queues_watch(struct changes *c);

/* change_nodes.c */
struct change_node *rt_change_node(struct changes *c, uint64_t id);
/* Row of the node with this edge, RT_CHANGE_NOWHERE if there is none. */
uint32_t rt_change_node_of(const struct changes *c, uint64_t boot);
bool rt_change_node_send(struct changes *c, struct change_node *n, struct pr_slice frame);
/* A CHG frame with changes of this node's edges, and its `last`. If HELD is not on the link, or the
 * frame is not taken, there is a hole. */
void rt_change_node_changes(struct changes *c, struct change_node *n, struct pr_slice frame,
                            struct pr_pos last);
/* It takes nothing: changes go on without it, and come again when it does. */
void rt_change_node_stuck(struct changes *c, struct change_node *n);
/* db holds the slot: changes may follow to all nodes, and holes are filled by them. */
void rt_change_nodes_held(struct changes *c);
/* db reads no more, or another one has begun: nothing is owed to any node. */
void rt_change_nodes_reset(struct changes *c);
/* Asks db to read again if a node with a hole can take changes. True: some node has one that only
 * time can make ready for that. */
bool rt_change_nodes_heal(struct changes *c);
bool rt_change_term_older(struct change_term a, struct change_term b);
/* Frames of this node as the reader; below 512 bytes. */
void rt_change_put_held(const struct changes *c, struct pr_outbuf *o);
void rt_change_put_sync(const struct changes *c, struct pr_outbuf *o, uint64_t round);

/* change_cast.c */
/* db begins to read: chooses the edge. */
void rt_change_cast_held(struct changes *c);
/* An edge attached, or ended; the second after it was taken off the owner's list. */
void rt_change_cast_edge_up(struct changes *c, uint32_t edge);
void rt_change_cast_edge_down(struct changes *c, uint32_t edge);
/* What the database broadcasts flows, or does not; edges are told. */
void rt_change_cast_flow(struct changes *c, bool on);
/* CAST of db. False: it is damaged. */
bool rt_change_cast(struct changes *c, const struct pr_frame *f);
/* CAST_OK of an edge. */
void rt_change_cast_ok(struct changes *c, const struct peer *edge, struct pr_slice frame);

/* change_missed.c */
/* This edge, or all of the node, may have missed something. */
void rt_change_missed(struct change_node *n, uint64_t boot);
void rt_change_missed_all(struct change_node *n);
/* This edge of another node, says our db: it is told now, and again if that does not arrive. */
void rt_change_missed_by(struct changes *c, uint64_t boot);
/* Tells those that can be told. */
void rt_change_missed_tell(struct changes *c, struct change_node *n);
/* The link is new: what was told may not have arrived. */
void rt_change_missed_again(struct change_node *n);
/* This edge has acknowledged changes up to pos. Other frames of it may be older than the word. */
void rt_change_missed_heard(struct change_node *n, uint64_t boot, struct pr_pos pos);

/* change_split.c */
/* Takes a decoded frame apart. `place` says where an edge is. False: it is damaged. */
bool rt_change_split(struct change_split *s, const struct pr_chg *m,
                     uint32_t (*place)(const struct changes *c, uint64_t boot),
                     const struct changes *c);
/* The part for one place, as a frame; valid until the next call. */
struct pr_slice rt_change_part(struct change_split *s, const struct pr_chg *m, uint32_t place);
void rt_change_split_free(struct change_split *s);

#endif
