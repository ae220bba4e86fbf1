/* steer_ending.c -- what the control thread asked to end, and does not wait for.
 *
 *     AUDIT STOP, a second COMPARE --> asked to stop --> rests in c->ending --> freed when its thread has ended
 *     LINK CLOSE --> its audit and comparison as above --> when they are gone: a thread removes the link
 *     LINK OPEN, AUDIT START meanwhile --> remembered, carried out when there is room for it
 */
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "syncer/steer_inside.h"

#include <stdio.h>

/* ---- audits and comparisons ---- */

static struct steer_ending *free_place(struct steer *c) {
    for (size_t i = 0; i < STEER_ENDING; i++)
        if (!c->ending[i].link) return &c->ending[i];
    return NULL;
}

static void release(struct steer_ending *e) {
    audit_free(e->audit);
    compare_free(e->compare);
    *e = (struct steer_ending){0};
}

/* Without a free place we must wait: eight comparisons that all have not reached the end of their budget. */
static void rest(struct steer *c, struct steer_ending ending) {
    struct steer_ending *place = free_place(c);
    if (place) *place = ending;
    else release(&ending);
}

void steer_end_audit(struct steer *c) {
    if (!c->audit) return;
    audit_ask_stop(c->audit);
    rest(c, (struct steer_ending){.link = audit_link(c->audit), .audit = c->audit});
    c->audit = NULL;
    c->repair_id[0] = '\0';
}

void steer_end_compare(struct steer *c) {
    if (!c->compare) return;
    rest(c, (struct steer_ending){.link = compare_link(c->compare), .compare = c->compare});
    c->compare = NULL;
}

bool steer_audit_is_ending(const struct steer *c) {
    for (size_t i = 0; i < STEER_ENDING; i++)
        if (c->ending[i].audit) return true;
    return false;
}

static void free_ended(struct steer *c) {
    for (size_t i = 0; i < STEER_ENDING; i++) {
        struct steer_ending *e = &c->ending[i];
        if (!e->link || (e->audit && !audit_is_done(e->audit)) || (e->compare && !compare_is_done(e->compare))) continue;
        release(e);
    }
}

static bool is_used(const struct steer *c, const struct link *link) {
    for (size_t i = 0; i < STEER_ENDING; i++)
        if (c->ending[i].link == link) return true;
    return false;
}

/* ---- links ---- */

static void *remove_link(void *self) {
    struct steer_link *slot = self;
    link_remove(slot->leaving);
    atomic_store(&slot->removed, true);
    return NULL;
}

void steer_close_link(struct steer *c, struct steer_link *slot) {
    slot->opening.wanted = false;
    if (!slot->link) return;
    ASSERT(!slot->leaving); /* a link is opened only when the one before is gone */
    if (c->audit && audit_link(c->audit) == slot->link) steer_end_audit(c);
    if (c->compare && compare_link(c->compare) == slot->link) steer_end_compare(c);
    pthread_mutex_lock(&c->lock);
    slot->leaving = slot->link;
    slot->link = NULL;
    pthread_mutex_unlock(&c->lock);
    slot->drain_told = slot->activate_told = false;
}

static void go_on(struct steer *c, struct steer_link *slot) {
    struct why why;
    if (slot->leaving && !slot->removing && !is_used(c, slot->leaving)) {
        atomic_store(&slot->removed, false);
        slot->removing = true;
        if (pthread_create(&slot->remover, NULL, remove_link, slot) != 0) check_failed("pthread_create", __FILE__, __LINE__, __func__);
    }
    if (slot->removing && atomic_load(&slot->removed)) {
        pthread_join(slot->remover, NULL);
        slot->leaving = NULL;
        slot->removing = false;
    }
    if (slot->leaving || !slot->opening.wanted) return;
    slot->opening.wanted = false;
    if (steer_open_link(c, slot, &why) != OK) log_error("link.open", LOG_WHY(&why));
}

void steer_go_on(struct steer *c) {
    free_ended(c);
    for (size_t i = 0; i < STEER_LINKS; i++) go_on(c, &c->links[i]);
    steer_start_next_audit(c);
}

/* The process ends: now it may take its time. */
void steer_wait_ended(struct steer *c) {
    steer_end_audit(c);
    steer_end_compare(c);
    for (size_t i = 0; i < STEER_ENDING; i++) release(&c->ending[i]);
    for (size_t i = 0; i < STEER_LINKS; i++) {
        struct steer_link *slot = &c->links[i];
        if (slot->removing) pthread_join(slot->remover, NULL);
        else if (slot->leaving) link_remove(slot->leaving);
        slot->leaving = NULL;
        link_close(slot->link);
    }
}
